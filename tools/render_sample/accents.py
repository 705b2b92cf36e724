"""What is strewn or poured over the food: drawn with the scene, so the same for every class."""

import math

import bpy
import numpy as np
from mathutils import Vector

from tools.render_sample import bites, materials
from tools.render_sample.draw import Draw
from tools.render_sample.geometry import Group, Part, copies, frames_along, superellipsoid, tube, unit_vectors
from tools.render_sample.noise import fbm
from tools.render_sample.shading import plain, vary
from tools.render_sample.sides import GREENS

DRIZZLES = ["2a0f06", "e9e2c8", "8a1a0c", "5a6a2a", "3a1c0a"]  # balsamic, mayonnaise, chilli, pesto, teriyaki
TRIES = 2  # a spot: food that covers half of its disc gets all that is strewn, smaller food less
START = 6.0  # height from which things fall


class Fall:
    """Finds where things that fall from above come to lie on the food."""

    def __init__(self, rng: Draw, food: Group, radius: float) -> None:
        self._rng, self._radius = rng, radius
        self._names = {item.name for item in food.objects}
        self._graph = bpy.context.evaluated_depsgraph_get()
        self._centre = food.parent.matrix_world.translation

    def height(self, x: float, y: float) -> float | None:
        """Return the height of the food at a point of the table, or None beside it."""
        found, place, _, _, item, _ = bpy.context.scene.ray_cast(self._graph, Vector((x, y, START)), Vector((0, 0, -1)))
        return place.z if found and item.name in self._names else None

    def at(self, u: float, v: float) -> tuple[float, float]:
        """Return the point of the table at (u, v), measured in radii of the food from its middle."""
        return self._centre.x + u * self._radius, self._centre.y + v * self._radius

    def spots(self, count: int, reach: float = 0.9) -> list[tuple[float, float, float]]:
        """Return up to `count` points on the food: fewer if it covers little of its disc."""
        spots = []
        for _ in range(count * TRIES):
            r, angle = self._radius * reach * math.sqrt(self._rng.uniform(0, 1)), self._rng.uniform(0, 2 * math.pi)
            x, y = self._centre.x + r * math.cos(angle), self._centre.y + r * math.sin(angle)
            z = self.height(x, y)
            if z is not None and len(spots) < count:
                spots.append((x, y, z))
        return spots


def _flat_leaves(rng: Draw, fall: Fall, group: Group, count: int, rocket: bool) -> None:
    """Lay leaves on the food."""
    material = materials.leaf(rng, rng.pick(GREENS[:3]))
    for x, y, z in fall.spots(count, 0.8):
        if rocket:
            shape, masks = bites.rocket_shape(rng, rng.uniform(0.4, 0.65))
        else:
            length = rng.uniform(0.2, 0.38)
            shape, masks = bites.leaf_shape(rng, length, length * rng.uniform(0.25, 0.36), rng.uniform(0.1, 0.7), 0.1)
        group.add(
            Part(shape, material, masks), (x, y, z + 0.045), (rng.normal(0.2), rng.normal(0.2), rng.uniform(0, 6))
        )


def herbs(rng: Draw, fall: Fall, group: Group) -> None:
    """Strew chopped green herbs, or lay a few whole leaves."""
    if rng.chance(0.5):
        _flat_leaves(rng, fall, group, rng.integer(2, 7), rocket=False)
    else:
        _flecks(rng, fall, group, rng.integer(40, 120), (0.035, 0.02, 0.004), plain(vary(rng, "33551f", 0.15), 0.6))


def rocket(rng: Draw, fall: Fall, group: Group) -> None:
    """Lay a handful of rocket on top."""
    _flat_leaves(rng, fall, group, rng.integer(5, 11), rocket=True)


def _flecks(
    rng: Draw, fall: Fall, group: Group, count: int, size: tuple[float, float, float], material: bpy.types.Material
) -> None:
    """Strew many small flakes of about the given half sizes."""
    spots = np.array(fall.spots(count))
    if not len(spots):
        return
    spots[:, 2] += size[2]
    normals = unit_vectors(len(spots), rng.arrays) * 0.6 + [0, 0, 1]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    sizes = np.array(size) * rng.arrays.uniform(0.4, 1.2, (len(spots), 3))
    flake = superellipsoid((1, 1, 1), 0.5, 0.5, 8, 9)
    group.add(Part(copies(flake, spots, frames_along(normals, rng.arrays), sizes), material))


def pepper(rng: Draw, fall: Fall, group: Group) -> None:
    """Grind pepper, and sometimes strew salt flakes."""
    _flecks(rng, fall, group, rng.integer(60, 160), (0.012, 0.01, 0.008), plain("1c1612", 0.7))
    if rng.chance(0.5):
        _flecks(rng, fall, group, rng.integer(15, 50), (0.014, 0.01, 0.004), plain("dcd8d0", 0.3, transmission=0.4))


def sesame(rng: Draw, fall: Fall, group: Group) -> None:
    """Strew sesame, white, black or both."""
    for colour in rng.pick([["dcc48e"], ["1a1612"], ["dcc48e", "1a1612"]]):
        _flecks(rng, fall, group, rng.integer(50, 120), (0.024, 0.013, 0.009), plain(vary(rng, colour), 0.5))


def chilli(rng: Draw, fall: Fall, group: Group) -> None:
    """Strew chilli flakes."""
    _flecks(rng, fall, group, rng.integer(50, 130), (0.022, 0.014, 0.004), plain(vary(rng, "8a1c0c", 0.15), 0.5))


def onion(rng: Draw, fall: Fall, group: Group) -> None:
    """Strew spring onion: small green rings and slivers."""
    pale, deep = plain(vary(rng, "a9bf7a"), 0.4), plain(vary(rng, "4f7a34"), 0.4)
    angle = np.linspace(0, 2 * math.pi, 14)
    for number, (x, y, z) in enumerate(fall.spots(rng.integer(14, 40))):
        r = rng.uniform(0.02, 0.036)
        ring = np.stack([r * np.cos(angle), r * np.sin(angle), 0 * angle], 1)
        group.add(
            Part(tube(ring, 0.009, 6), pale if number % 3 else deep),
            (x, y, z + 0.02),
            (rng.normal(0.5), rng.normal(0.5), 0),
        )


def cheese(rng: Draw, fall: Fall, group: Group) -> None:
    """Shave hard cheese over it."""
    material = plain(vary(rng, "e2cf98", 0.05), 0.5)
    for x, y, z in fall.spots(rng.integer(8, 18), 0.8):
        shape, _ = bites.leaf_shape(rng, rng.uniform(0.15, 0.35), rng.uniform(0.05, 0.11), 0.1, 0.06)
        group.add(Part(shape, material), (x, y, z + 0.03), (rng.normal(0.25), rng.normal(0.25), rng.uniform(0, 6)))


def drizzle(rng: Draw, fall: Fall, group: Group) -> None:
    """Pour a thin sauce over it in a zigzag."""
    material = materials.liquid(vary(rng, rng.pick(DRIZZLES)))
    turn, pitch, width = rng.uniform(0, 3.1), rng.uniform(0.15, 0.32), rng.uniform(0.016, 0.032)
    t = np.linspace(-1, 1, 700)
    sweep = np.sin(t / pitch * 3) * rng.uniform(0.4, 0.9) + 0.12 * fbm(t * 4 + rng.uniform(0, 90), 0 * t)
    t = t + 0.08 * fbm(t * 5, 0 * t + rng.uniform(0, 90))
    line = np.stack([t * math.cos(turn) - sweep * math.sin(turn), t * math.sin(turn) + sweep * math.cos(turn)], 1)
    _strands(fall, group, line, width, material)


def _strands(fall: Fall, group: Group, line: np.ndarray, width: float, material: bpy.types.Material) -> None:
    """Lay a line of sauce (N, 2, in food radii) where there is food under it."""
    strand: list[tuple[float, float, float]] = []
    for u, v in line:
        x, y = fall.at(u, v)
        z = fall.height(x, y)
        if z is not None and (not strand or abs(z - strand[-1][2]) < 0.12):
            strand.append((x, y, z + 0.4 * width))
            continue
        if len(strand) > 8:
            group.add(Part(tube(strand, width), material))
        strand = []
    if len(strand) > 8:
        group.add(Part(tube(strand, width), material))


BUILDERS = {builder.__name__: builder for builder in (herbs, rocket, drizzle, pepper, sesame, onion, cheese, chilli)}


def add_accent(rng: Draw, name: str, food: Group, radius: float) -> None:
    """Strew or pour the named accent over the food, which must be in place."""
    bpy.context.view_layer.update()
    group = Group(f"accent {name}")
    BUILDERS[name](rng, Fall(rng.child("fall"), food, radius), group)
