"""Toppings: each is placed on a piece of the pie and draped over its height field."""

import math
from dataclasses import dataclass

import bpy
import numpy as np

from tools.render_sample import bites, materials
from tools.render_sample.draw import Draw
from tools.render_sample.geometry import Group, Part, Shape, circle, grid_faces, points, superellipsoid
from tools.render_sample.noise import fbm
from tools.render_sample.pizza_pie import Pie, Piece
from tools.render_sample.shading import Shader, vary


@dataclass
class Table:
    """Where toppings go: the pie, the group they join, what is taken already, how far it is baked."""

    rng: Draw
    pie: Pie
    group: Group
    bake: float
    taken: list

    def spots(self, count: int, room: float, gap: float = 0.8) -> list[tuple[float, float, Piece]]:
        """Return free places; more of them on a larger pie."""
        return self.pie.spots(self.rng, round(count * (self.pie.radius / 1.3) ** 2), room, gap, self.taken)

    def drape(
        self,
        shape: Shape,
        material: bpy.types.Material,
        spot: tuple,
        lift: float = 0.0,
        soft: float = 0.7,
        masks: dict | None = None,
    ) -> None:
        """Lay a shape on the pie, bent to its surface as far as `soft` (0 to 1) says."""
        x, y, piece = spot
        turn = self.rng.uniform(0, 2 * math.pi)
        cosine, sine = math.cos(turn), math.sin(turn)
        vertices, faces = shape
        around = vertices @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
        height = self.pie.surface(around[:, 0] + x, around[:, 1] + y)[0]
        around[:, 2] += soft * height + (1 - soft) * height.mean() + lift
        place = (x + piece.shift[0], y + piece.shift[1], 0)
        self.group.add(Part((around, faces), material, masks or {}), place)


def pepperoni(table: Table, count: int = 20, room: tuple[float, float] = (0.15, 0.25)) -> None:
    """Lay slices of pepperoni or salami, cupped and charred by the oven."""
    rng, shader = table.rng, Shader(table.rng.uniform(0, 50))
    dark, light = rng.pick([("7a140a", "a03018"), ("8a2a20", "b85a48"), ("6a1a14", "8c3a2c")])
    fat, tone = shader.step(shader.noise(30, 3, 0.6), 0.54, 0.66), shader.noise(9, 4)
    colour = shader.mix(tone, vary(rng, dark, 0.1), vary(rng, light, 0.1))
    colour = shader.mix(shader.math("MULTIPLY", fat, rng.uniform(0.3, 0.7)), colour, vary(rng, "d08a5a"))
    colour = shader.mix(
        shader.step(shader.mask("rim"), 0.72, 1.0, 0, 0.3 + 0.55 * table.bake), colour, vary(rng, "360a03")
    )
    material = shader.finish(
        colour=colour,
        roughness=shader.step(tone, 0.35, 0.65, 0.25, 0.5),
        normal=shader.bump(shader.noise(22, 4), 0.4, 0.02),
    )
    r, cup = rng.uniform(*room), rng.uniform(0, 0.06)
    for spot in table.spots(rng.integer(count // 2, count), r, rng.uniform(0.75, 1)):
        shape, masks = bites.disc_shape(rng, r * rng.uniform(0.92, 1.07), 0.022, cup * rng.uniform(0.3, 1.4))
        table.drape(shape, material, spot, masks=masks, soft=0.6)


def olives(table: Table) -> None:
    """Lay rings of black or green olive."""
    rng, shader = table.rng, Shader(table.rng.uniform(0, 50))
    tones = rng.pick([("14100f", "2e262a"), ("14100f", "2e262a"), ("545a20", "7a7c3a")])
    material = shader.finish(colour=shader.mix(shader.noise(4), *tones), roughness=0.3)
    angle, around = circle(24).T, circle(10)
    for spot in table.spots(rng.integer(8, 22), 0.1):
        r = rng.uniform(0.055, 0.075)
        x, y = (
            (r + 0.03 * np.cos(around)) * np.cos(angle),
            (r + 0.03 * np.cos(around)) * np.sin(angle) * rng.uniform(0.8, 1),
        )
        table.drape((points(x, y, 0.032 * np.sin(around)), grid_faces(24, 10, True, True)), material, spot, 0.02, 0.4)


def basil(table: Table) -> None:
    """Lay leaves, wilted by the heat."""
    rng = table.rng
    material = materials.leaf(rng, rng.pick([("3a6a28", "1d3f12"), ("4a6a2a", "26401a"), ("33501f", "1a2c10")]))
    for spot in table.spots(rng.integer(4, 10), 0.15, 0.7):
        length = rng.uniform(0.25, 0.42)
        shape, masks = bites.leaf_shape(rng, length, length * rng.uniform(0.24, 0.36), rng.uniform(0, 0.6), 0.1)
        table.drape(shape, material, spot, 0.04, 0.6, masks)


CAP = [
    (0, 0.8),
    (0.45, 0.74),
    (0.85, 0.45),
    (1, 0.05),
    (0.93, -0.15),
    (0.6, -0.12),
    (0.3, -0.1),
    (0.27, -0.5),
    (0.3, -0.8),
    (0, -0.86),
]


def mushrooms(table: Table) -> None:
    """Lay slices of mushroom."""
    rng, shader = table.rng, Shader(table.rng.uniform(0, 50))
    flesh = shader.mix(shader.noise(8), vary(rng, "d8ba86"), vary(rng, "a87c48"))
    colour = shader.mix(shader.step(shader.mask("rim"), 0.7, 1), flesh, vary(rng, "5a3a1e"))
    material = shader.finish(colour=colour, roughness=0.5, normal=shader.bump(shader.noise(20), 0.3, 0.02))
    outline = np.array(CAP + [(-x, y) for x, y in CAP[-2:0:-1]])
    closed, fine = np.vstack([outline, outline[:1]]), np.linspace(0, len(outline), 48, endpoint=False)
    across, up = (np.interp(fine, np.arange(len(closed)), closed[:, axis])[None] for axis in (0, 1))
    reach = np.array([0.05, 0.4, 0.75, 0.9, 1, 1])[:, None]
    height = np.array([0.03, 0.03, 0.03, 0.028, 0.02, -0.01])[:, None]
    for spot in table.spots(rng.integer(6, 18), 0.15, 0.75):
        r = rng.uniform(0.12, 0.19)
        shape = (
            points(reach * across * r, reach * up * r, height + 0.01 * np.sin(3 * across)),
            grid_faces(6, 48, wrap_columns=True),
        )
        table.drape(shape, material, spot, 0.008, 0.6, {"rim": np.broadcast_to(reach, (6, 48)).ravel()})


def _mottled(rng: Draw, colour: str, roughness: float = 0.35, strength: float = 0.4) -> bpy.types.Material:
    """Return a soft, slightly uneven material."""
    shader = Shader(rng.uniform(0, 50))
    tone = shader.noise(5, 5, 0.65)
    shade = shader.mix(shader.step(tone, 0.35, 0.65), vary(rng, colour, 0.1), vary(rng, colour, 0.25))
    return shader.finish(colour=shade, roughness=roughness, normal=shader.bump(shader.noise(14, 4), strength, 0.02))


def _strips(table: Table, colours: list[str], count: int, thickness: float) -> None:
    """Lay bent strips of vegetable."""
    rng = table.rng
    shades = [_mottled(rng, colour) for colour in colours]
    along, around = np.linspace(-0.5, 0.5, 24)[:, None], circle(8)
    for spot in table.spots(count, 0.14, 0.55):
        length, bend = rng.uniform(0.25, 0.5), rng.uniform(0.8, 2.6)
        swell = thickness * (np.sin(np.linspace(0.15, math.pi - 0.15, 24)) ** 0.3)[:, None]
        curve = length / bend
        x = (curve + swell * np.cos(around)) * np.cos(along * bend) - curve
        y = (curve + swell * np.cos(around)) * np.sin(along * bend)
        shape = points(x, y, 0.7 * swell * np.sin(around)), grid_faces(24, 8, wrap_columns=True)
        table.drape(shape, rng.pick(shades), spot, 0.5 * thickness, 0.6)


def peppers(table: Table) -> None:
    """Lay strips of sweet pepper."""
    colours = table.rng.pick([["3f6a22"], ["3f6a22", "a8281a", "c8901a"], ["a8281a"]])
    _strips(table, colours, table.rng.integer(8, 18), 0.032)


def onions(table: Table) -> None:
    """Lay thin strips of onion."""
    _strips(table, table.rng.pick([["8a4a72", "cfb4c4"], ["d8ccb0", "c2ae84"]]), table.rng.integer(8, 20), 0.016)


def _chunks(table: Table, colours: list[str], count: int, room: float, boxiness: float, flatness: float) -> None:
    """Lay irregular lumps."""
    rng = table.rng
    shades = [_mottled(rng, colour, 0.45, 0.8) for colour in colours]
    for spot in table.spots(count, room, 0.7):
        size = (room * rng.uniform(0.7, 1.2), room * rng.uniform(0.6, 1), room * flatness)
        vertices, faces = superellipsoid(size, boxiness, boxiness, 14, 22)
        push = 1 + 0.4 * fbm(
            vertices[:, 0] / room * 1.5 + spot[0] * 9, vertices[:, 1] / room * 1.5, vertices[:, 2] / room
        )
        table.drape((vertices * push[:, None], faces), rng.pick(shades), spot, 0.4 * room * flatness, 0.5)


def ham(table: Table) -> None:
    """Lay pieces of cooked ham."""
    _chunks(table, ["c87c68", "b86a56", "a85a46"], table.rng.integer(10, 20), 0.13, 0.5, 0.16)


def pineapple(table: Table) -> None:
    """Lay pieces of pineapple."""
    _chunks(table, ["d8a83a", "c8922c", "b07c22"], table.rng.integer(8, 16), 0.1, 0.7, 0.35)


def mince(table: Table) -> None:
    """Lay crumbs of browned mince or sausage."""
    _chunks(
        table, ["5f3420", "744028", "4a2818"], table.rng.integer(24, 60), table.rng.uniform(0.035, 0.065), 0.8, 0.55
    )


def mozzarella(table: Table) -> None:
    """Lay soft white patches of mozzarella or ricotta."""
    _chunks(table, ["e6dcc4", "dccfae"], table.rng.integer(8, 16), table.rng.uniform(0.1, 0.18), 0.9, 0.3)


def tomatoes(table: Table) -> None:
    """Lay slices of tomato."""
    rng, shader = table.rng, Shader(table.rng.uniform(0, 50))
    flesh = shader.mix(shader.step(shader.noise(9, 3), 0.45, 0.6), vary(rng, "b83c24"), vary(rng, "c8774a"))
    colour = shader.mix(shader.step(shader.mask("rim"), 0.8, 0.9), flesh, vary(rng, "98160a"))
    material = shader.finish(colour=colour, roughness=0.3, normal=shader.bump(shader.noise(12), 0.4, 0.02))
    r = rng.uniform(0.14, 0.23)
    for spot in table.spots(rng.integer(5, 11), r, 0.9):
        shape, masks = bites.disc_shape(rng, r, 0.028)
        table.drape(shape, material, spot, 0.01, 0.7, masks)


def _sheets(table: Table, colours: tuple[str, str], count: int, size: tuple[float, float]) -> None:
    """Lay thin, crumpled slices of meat or fish, streaked with fat."""
    rng, shader = table.rng, Shader(table.rng.uniform(0, 50))
    streaks = shader.waves(rng.uniform(2, 4), 5, shader.stretched((1, 0.4, 1)))
    colour = shader.mix(shader.noise(3, 4), vary(rng, colours[0]), vary(rng, colours[0], 0.2))
    colour = shader.mix(shader.step(streaks, 0.6, 0.95, 0, 0.7), colour, vary(rng, colours[1]))
    material = shader.finish(colour=colour, roughness=0.35, normal=shader.bump(shader.noise(9, 4), 0.5, 0.03))
    for spot in table.spots(count, 0.2, 0.6):
        length = rng.uniform(*size)
        shape, masks = bites.leaf_shape(rng, length, length * rng.uniform(0.2, 0.4), 0.2, 0.13)
        table.drape(shape, material, spot, 0.06, 0.7, masks)


def prosciutto(table: Table) -> None:
    """Lay raw ham."""
    _sheets(table, ("a8483c", "e0c0a8"), table.rng.integer(5, 10), (0.4, 0.75))


def salmon(table: Table) -> None:
    """Lay smoked salmon."""
    _sheets(table, ("d8642a", "ecb48c"), table.rng.integer(6, 10), (0.35, 0.6))


def beef(table: Table) -> None:
    """Lay slices of seared beef, pink inside."""
    _sheets(table, ("8a3a34", "5a2a1c"), table.rng.integer(7, 12), (0.35, 0.6))
