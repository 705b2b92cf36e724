"""Things on the table around the dish."""

import math
from collections.abc import Callable

import numpy as np

from tools.render_sample import materials
from tools.render_sample.draw import Draw
from tools.render_sample.geometry import Group, Part, box, grid_faces, lathe, points, tube
from tools.render_sample.noise import fbm
from tools.render_sample.shading import plain, vary

DRINKS = ["c8761a", "5a0f14", "d9b24a", "3a1a0c", "e8e2d2", "b8c9a0"]
BOTTLES = ["b3221a", "d9a520", "1a1210", "2f4f2a", "e8e4da", "5a2a16"]
SAUCES = ["3a1508", "140805", "e6d9b4", "7a1d10", "4a5626", "b8741f", "ece7dc"]


def water_glass(rng: Draw, group: Group) -> None:
    """Add a tumbler with a drink in it."""
    r, h = rng.uniform(0.32, 0.42), rng.uniform(0.9, 1.3)
    profile = [(0, 0.06), (0.85 * r, 0.06), (r, h), (r * 1.04, h), (0.92 * r, 0), (0, 0)]
    group.add(Part(lathe(profile, 48), materials.glass(rng)))
    level = h * rng.uniform(0.3, 0.85)
    drink = plain(vary(rng, rng.pick(DRINKS)), 0.05, transmission=0.6, ior=1.33)
    group.add(
        Part(lathe([(0, 0.08), (0.8 * r, 0.08), (0.82 * r + 0.12 * r * level / h, level), (0, level)], 48), drink)
    )


def wine_glass(rng: Draw, group: Group) -> None:
    """Add a stemmed glass."""
    profile = [(0, 0.03), (0.34, 0.02), (0.05, 0.08), (0.04, 0.7), (0.2, 0.85), (0.4, 1.2), (0.36, 1.7), (0.345, 1.7),
               (0.38, 1.2), (0.18, 0.9), (0, 0.85)]  # fmt: skip
    group.add(Part(lathe(profile, 48), materials.glass(rng)))
    wine = plain(vary(rng, rng.pick(["4a0a14", "d8c27a"])), 0.04, transmission=0.4, ior=1.33)
    group.add(Part(lathe([(0, 0.87), (0.17, 0.92), (0.35, 1.18), (0, 1.18)], 48), wine))


def cup(rng: Draw, group: Group) -> None:
    """Add a cup of tea or coffee on a saucer."""
    china = materials.ceramic(rng)
    group.add(Part(lathe([(0, 0.03), (0.5, 0.06), (0.62, 0.1), (0.6, 0.06), (0.3, 0), (0, 0)], 48), china))
    group.add(Part(lathe([(0, 0.1), (0.22, 0.1), (0.38, 0.5), (0.4, 0.5), (0.26, 0.04), (0, 0.04)], 48), china))
    group.add(Part(lathe([(0, 0.4), (0.34, 0.4)], 48), materials.liquid(rng.pick(["2a140a", "5a3216", "6d7a3a"]))))
    angle = np.linspace(-1.5, 1.5, 16)
    handle = np.stack([0.36 + 0.18 * np.cos(angle), 0 * angle, 0.3 + 0.15 * np.sin(angle)], 1)
    group.add(Part(tube(handle, 0.035), china))


def bottle(rng: Draw, group: Group) -> None:
    """Add a bottle of sauce or beer with a label and a cap."""
    r, h = rng.uniform(0.26, 0.36), rng.uniform(1.2, 1.8)
    body = plain(vary(rng, rng.pick(BOTTLES)), 0.12, coat=0.4)
    profile = [(0, 0), (r, 0), (r, 0.58 * h), (0.4 * r, 0.8 * h), (0.36 * r, h), (0, h)]
    group.add(Part(lathe(profile, 40), body))
    label = plain(vary(rng, rng.pick(["eee6d0", "c9a13a", "b3261e", "1d2b4a"])), 0.5)
    group.add(Part(lathe([(r * 1.01, 0.15 * h), (r * 1.01, 0.45 * h)], 40), label))
    cap = plain(vary(rng, rng.pick(["c0271d", "e5e2da", "1d1d1f", "3b6b35"])), 0.35)
    group.add(Part(lathe([(0.42 * r, 0.93 * h), (0.42 * r, 1.06 * h), (0, 1.07 * h)], 32), cap))


def shaker(rng: Draw, group: Group) -> None:
    """Add a salt or pepper shaker."""
    r, h = rng.uniform(0.16, 0.2), rng.uniform(0.45, 0.65)
    group.add(
        Part(
            lathe([(0, 0), (r, 0), (0.8 * r, h), (0, h)], 32),
            plain(vary(rng, rng.pick(["e9e7e1", "3a2a20", "b9b4aa"])), 0.2),
        )
    )
    group.add(Part(lathe([(0.85 * r, h), (0.8 * r, h * 1.25), (0, h * 1.33)], 32), materials.steel(rng)))


def candle(rng: Draw, group: Group) -> None:
    """Add a candle in a glass jar, lit."""
    group.add(
        Part(lathe([(0, 0.04), (0.28, 0.04), (0.32, 0.55), (0.34, 0.55), (0.3, 0), (0, 0)], 40), materials.glass(rng))
    )
    group.add(Part(lathe([(0, 0.3), (0.27, 0.3)], 32), plain(vary(rng, "e9d9b4"), 0.5)))
    flame = plain("ffb347", 0.5, emission="ff9a3c", emission_strength=12.0)
    group.add(Part(lathe([(0, 0.33), (0.04, 0.4), (0.02, 0.5), (0, 0.56)], 16), flame))


def sauce_bowl(rng: Draw, group: Group) -> None:
    """Add a small bowl of sauce."""
    profile = [(0, 0.04), (0.25, 0.05), (0.36, 0.2), (0.39, 0.2), (0.3, 0), (0, 0)]
    group.add(Part(lathe(profile, 48), materials.ceramic(rng)))
    group.add(Part(lathe([(0, 0.14), (0.33, 0.14)], 48), materials.liquid(vary(rng, rng.pick(SAUCES)))))


def _blade(length: float, widths: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Return a flat, slightly arched piece of cutlery along y; widths are (position, half width)."""
    t = np.linspace(0, 1, 48)
    half = np.interp(t, *zip(*widths, strict=True))[:, None]
    across = np.linspace(-1, 1, 7)[None]
    y = (t[:, None] - 0.5) * length
    z = 0.04 + 0.02 * np.cos(6 * t)[:, None] + 0.015 * (1 - across**2)
    return points(half * across, y, z), grid_faces(48, 7)


def knife(rng: Draw, group: Group) -> None:
    """Add a knife, its handle of steel or wood."""
    handle = materials.steel(rng) if rng.chance(0.6) else materials.wood(rng, 2.0)
    group.add(Part(_blade(1.0, [(0, 0.06), (0.3, 0.07), (1, 0.05)]), handle), (0, -0.45, 0.01))
    group.add(Part(_blade(1.1, [(0, 0.05), (0.2, 0.09), (0.8, 0.09), (1, 0.01)]), materials.steel(rng)), (0, 0.5, 0))


def fork(rng: Draw, group: Group) -> None:
    """Add a fork with four tines."""
    metal = materials.steel(rng)
    group.add(Part(_blade(1.5, [(0, 0.07), (0.5, 0.035), (0.8, 0.05), (0.9, 0.13), (1, 0.13)]), metal))
    for offset in (-0.105, -0.035, 0.035, 0.105):
        group.add(Part(_blade(0.42, [(0, 0.025), (0.8, 0.02), (1, 0.004)]), metal), (offset, 0.92, 0))


def spoon(rng: Draw, group: Group) -> None:
    """Add a spoon."""
    widths = [(0, 0.06), (0.5, 0.03), (0.68, 0.04), (0.75, 0.14), (0.85, 0.2), (0.95, 0.14), (1, 0.01)]
    group.add(Part(_blade(1.8, widths), materials.steel(rng)))


def chopsticks(rng: Draw, group: Group) -> None:
    """Add a pair of chopsticks."""
    wood = rng.pick([materials.wood(rng, 2.0), plain(vary(rng, "1c1514"), 0.2), plain(vary(rng, "8c2a1c"), 0.25)])
    t = np.linspace(0, 1, 12)
    for offset in (0.0, 0.14):
        path = np.stack([0 * t + offset, (t - 0.5) * 2.3, 0 * t + 0.05], 1)
        group.add(Part(tube(path, np.interp(t, [0, 1], [0.045, 0.025])), wood), (0, 0, 0), (0, 0, rng.normal(0.04)))


def napkin(rng: Draw, group: Group) -> None:
    """Add a crumpled or folded napkin."""
    line = np.linspace(-0.7, 0.7, 40)
    x, y = line[:, None], line[None] * rng.uniform(0.6, 1)
    shift, crumple = rng.uniform(0, 90), rng.pick([0.02, 0.12])
    z = 0.03 + crumple * (0.6 + np.abs(fbm(x * 1.6 + shift, y * 1.6, 0, 3)))
    fabric = rng.pick([materials.cloth(rng), materials.paper(rng, "eceae4")])
    group.add(Part((points(x, y, z), grid_faces(40, 40)), fabric))


def phone(rng: Draw, group: Group) -> None:
    """Add a phone, face up."""
    group.add(Part(box((0.75, 1.5, 0.08)), plain("0a0a0c", 0.08, coat=0.5)))


def menu_card(rng: Draw, group: Group) -> None:
    """Add a printed card."""
    group.add(Part(box((1.2, 1.7, 0.02)), materials.paper(rng, rng.pick(["e8dcc0", "d8d4ca", "2a2422"]))))
    ink = plain(rng.pick(["3a2a20", "7a2018", "b9a878"]), 0.7)
    for row in range(rng.integer(6, 11)):
        width = rng.uniform(0.3, 0.9)
        group.add(Part(box((width, 0.05, 0.012)), ink), (0, 0.7 - 0.14 * row, 0.015))


def bread(rng: Draw, group: Group) -> None:
    """Add two slices of bread or a roll on a small plate."""
    group.add(Part(lathe([(0, 0.03), (0.6, 0.03), (0.78, 0.1), (0.6, 0), (0, 0)], 48), materials.ceramic(rng)))
    from_, to = vary(rng, "e8d2a4"), vary(rng, "9a5f28")
    vertices, faces = box((0.7, 0.5, 0.3))
    vertices[:, 2] *= 1 + 0.3 * fbm(vertices[:, 0] * 3, vertices[:, 1] * 3, 1)
    shade = materials.Shader(rng.uniform(0, 50))
    crumb = shade.finish(colour=shade.ramp(shade.noise(6, 5), [(0.35, to), (0.6, from_)]), roughness=0.8)
    group.add(Part((vertices, faces), crumb), (0, 0.05, 0.04), (0, 0, rng.uniform(0, 3)))


Builder = Callable[[Draw, Group], None]
TALL: dict[Builder, float] = {water_glass: 0.45, wine_glass: 0.45, bottle: 0.4, candle: 0.4, cup: 0.65}
FLAT: dict[Builder, float] = {
    shaker: 0.25, sauce_bowl: 0.45, knife: 0.3, fork: 0.3, spoon: 0.3, chopsticks: 0.35, napkin: 0.8, phone: 0.6,
    menu_card: 0.8, bread: 0.8,
}  # builder -> room it needs (radius)  # fmt: skip
ALONGSIDE = {knife, fork, spoon, chopsticks}  # long things lie beside the dish, roughly parallel to it
FAR_SIDE = (0.15 * math.pi, 0.85 * math.pi)  # angles behind the dish: tall things must not hide it


def place_props(rng: Draw, count: int, dish_radius: float) -> list[str]:
    """Stand `count` props around the dish and return their names."""
    taken: list[tuple[float, float, float]] = []
    names = []
    for number in range(count):
        own = rng.child(f"prop {number}")
        room = TALL if own.chance(0.45) else FLAT
        builder = own.pick(list(room))
        spot = _free_spot(own, room[builder], dish_radius, taken, FAR_SIDE if room is TALL else (0.0, 2 * math.pi))
        if spot is None:
            continue
        taken.append((*spot, room[builder]))
        turn = own.normal(0.25) if builder in ALONGSIDE else own.uniform(0, 2 * math.pi)
        builder(own, Group(builder.__name__, (*spot, 0), turn))
        names.append(builder.__name__)
    return names


def _free_spot(
    rng: Draw, radius: float, dish_radius: float, taken: list[tuple[float, float, float]], arc: tuple[float, float]
) -> tuple[float, float] | None:
    """Return a spot clear of the dish and of what stands there, or None."""
    for _ in range(20):
        angle = rng.uniform(*arc)
        distance = dish_radius + radius + abs(rng.normal(0.5))
        x, y = distance * math.cos(angle), distance * math.sin(angle)
        if all(math.hypot(x - a, y - b) > radius + r for a, b, r in taken):
            return x, y
    return None
