"""Dishes: the pool from which every class is served."""

import math
from dataclasses import dataclass

import bpy
import numpy as np

from tools.render_sample import materials
from tools.render_sample.draw import Draw
from tools.render_sample.geometry import Group, Part, box, grid_faces, lathe, points
from tools.render_sample.noise import fbm, smoothstep
from tools.render_sample.shading import plain, vary


@dataclass(frozen=True)
class Surface:
    """Where food goes: the largest disc that stays clear of the rim, and its height."""

    radius: float
    height: float
    outer_radius: float  # of the whole dish: props keep clear of it


def _plate(rng: Draw, group: Group, glaze: str | None = None, stretch: float = 1.0, squareness: float = 1.0) -> Surface:
    """Add a plate with a rim."""
    r, rim = rng.uniform(1.5, 1.75), rng.uniform(0.1, 0.2)
    profile = [(0, 0.04), (0.6 * r, 0.04), (0.72 * r, 0.05), (0.77 * r, 0.08), (0.98 * r, rim), (r, rim + 0.01),
               (r, rim - 0.01), (0.72 * r, 0.02), (0.6 * r, 0), (0, 0)]  # fmt: skip
    group.add(Part(lathe(profile, 96, squareness, stretch), materials.ceramic(rng, glaze)))
    return Surface(0.8 * r, 0.045, r * stretch)


def white_plate(rng: Draw, group: Group) -> Surface:
    """Add a round white plate."""
    return _plate(rng, group, "eeece6")


def coloured_plate(rng: Draw, group: Group) -> Surface:
    """Add a round plate in any glaze."""
    return _plate(rng, group, rng.pick(materials.GLAZES))


def oval_plate(rng: Draw, group: Group) -> Surface:
    """Add an oval platter."""
    return _plate(rng, group, None, rng.uniform(1.15, 1.4))


def square_plate(rng: Draw, group: Group) -> Surface:
    """Add a square plate with round corners."""
    return _plate(rng, group, None, rng.pick([1.0, 1.25]), 0.3)


def coupe(rng: Draw, group: Group) -> Surface:
    """Add a plate without a rim, curved up at the edge."""
    r = rng.uniform(1.45, 1.7)
    profile = [
        (0, 0.03),
        (0.7 * r, 0.03),
        (0.93 * r, 0.07),
        (0.99 * r, 0.18),
        (r, 0.2),
        (r, 0.18),
        (0.94 * r, 0),
        (0, 0),
    ]
    group.add(Part(lathe(profile, 96), materials.ceramic(rng)))
    return Surface(0.86 * r, 0.035, r)


def _slab(rng: Draw, group: Group, material: bpy.types.Material, thickness: float) -> Surface:
    """Add a rectangular slab."""
    width, depth = rng.uniform(2.9, 3.7), rng.uniform(2.3, 2.8)
    group.add(Part(box((width, depth, thickness)), material))
    return Surface(depth / 2 * 0.98, thickness, width / 2)


def wood_board(rng: Draw, group: Group) -> Surface:
    """Add a rectangular wooden board."""
    return _slab(rng, group, materials.wood(rng, rng.uniform(0.7, 1.3)), rng.uniform(0.1, 0.2))


def slate_board(rng: Draw, group: Group) -> Surface:
    """Add a slate."""
    return _slab(rng, group, materials.slate(rng), 0.07)


def stone_slab(rng: Draw, group: Group) -> Surface:
    """Add a flat rectangular dish of ceramic or stone."""
    return _slab(rng, group, rng.pick([materials.ceramic, materials.stone])(rng), 0.08)


def round_board(rng: Draw, group: Group) -> Surface:
    """Add a round wooden board with a handle."""
    r, t = rng.uniform(1.4, 1.6), rng.uniform(0.08, 0.15)
    wood = materials.wood(rng, rng.uniform(0.8, 1.4))
    profile = [(0, t), (r * 0.96, t), (r, t * 0.8), (r, t * 0.2), (r * 0.97, 0), (0, 0)]
    group.add(Part(lathe(profile, 96), wood))
    if rng.chance(0.5):
        angle = rng.uniform(0, 6)
        place = ((r + 0.3) * math.cos(angle), (r + 0.3) * math.sin(angle), 0)
        group.add(Part(box((0.9, 0.34, t * 0.98)), wood), place, (0, 0, angle))
    return Surface(r * 0.93, t, r)


def pan(rng: Draw, group: Group) -> Surface:
    """Add a cast iron pan with its handle."""
    r = rng.uniform(1.4, 1.6)
    iron = materials.cast_iron(rng)
    profile = [
        (0, 0.05),
        (r * 0.93, 0.05),
        (r * 0.97, 0.1),
        (r * 1.05, 0.3),
        (r * 1.09, 0.31),
        (r * 1.04, 0.26),
        (r * 0.97, 0),
        (0, 0),
    ]
    group.add(Part(lathe(profile, 96), iron))
    angle = rng.uniform(-0.4, 3.5)
    place = ((r + 0.75) * math.cos(angle), (r + 0.75) * math.sin(angle), 0.2)
    group.add(Part(box((1.5, 0.26, 0.09)), iron), place, (0, 0, angle))
    return Surface(0.9 * r, 0.055, r * 1.1)


def metal_tray(rng: Draw, group: Group) -> Surface:
    """Add a round or oblong steel tray."""
    r = rng.uniform(1.45, 1.65)
    profile = [(0, 0.02), (r * 0.93, 0.02), (r, 0.12), (r * 1.03, 0.12), (r * 0.98, 0), (0, 0)]
    square, stretch = rng.pick([(1.0, 1.0), (0.25, 1.25)])
    group.add(Part(lathe(profile, 96, square, stretch), materials.steel(rng)))
    return Surface(r * 0.9, 0.025, r * stretch)


def paper_plate(rng: Draw, group: Group) -> Surface:
    """Add a thin plate of white paper with a crimped edge."""
    r = rng.uniform(1.45, 1.65)
    profile = [
        (0, 0.015),
        (0.74 * r, 0.015),
        (0.8 * r, 0.05),
        (0.97 * r, 0.13),
        (r, 0.14),
        (0.98 * r, 0.12),
        (0.76 * r, 0),
        (0, 0),
    ]
    vertices, faces = lathe(profile, 160)
    angle, reach = np.arctan2(vertices[:, 1], vertices[:, 0]), np.hypot(vertices[:, 0], vertices[:, 1]) / r
    vertices[:, 2] += 0.018 * np.sin(angle * 60) * smoothstep(0.76, 0.9, reach)
    group.add(Part((vertices, faces), materials.paper(rng, "efeeea")))
    return Surface(0.84 * r, 0.017, r)


def _container(rng: Draw, group: Group, material: bpy.types.Material, wall: float, thickness: float) -> Surface:
    """Add an oblong container with upright walls."""
    r, stretch = rng.uniform(1.45, 1.6), rng.uniform(1.0, 1.3)
    profile = [(0, 0.03), (r * 0.97, 0.03), (r, 0.05), (r * 1.03, wall), (r * 1.03 + thickness, wall),
               (r + thickness, 0.03), (r * 0.98, 0), (0, 0)]  # fmt: skip
    group.add(Part(lathe(profile, 128, 0.16, stretch), material))
    return Surface(r * 0.93, 0.035, (r + thickness) * stretch)


def cardboard_box(rng: Draw, group: Group) -> Surface:
    """Add an open takeaway box; its lid stands up behind in half of the cases."""
    card = materials.paper(rng, rng.pick(["b08a5c", "c9a777", "d9d4c8"]))
    surface = _container(rng, group, card, rng.uniform(0.25, 0.4), 0.03)
    if rng.chance(0.5):
        reach = surface.outer_radius
        group.add(Part(box((2 * reach, 0.04, 2.2)), card), (0, 1.62 + 0.05, 0.3), (-rng.uniform(0.2, 0.6), 0, 0))
    return surface


def lacquer_tray(rng: Draw, group: Group) -> Surface:
    """Add a red or black lacquer tray."""
    return _container(rng, group, materials.lacquer(rng), rng.uniform(0.15, 0.3), 0.05)


def plastic_tray(rng: Draw, group: Group) -> Surface:
    """Add a takeaway tray of black or white plastic or foil."""
    plastics = [plain(vary(rng, "18191b"), 0.3), plain(vary(rng, "e6e6e3"), 0.35), materials.steel(rng)]
    return _container(rng, group, rng.pick(plastics), rng.uniform(0.2, 0.35), 0.03)


def lined_basket(rng: Draw, group: Group) -> Surface:
    """Add a sheet of paper on a shallow tray or board."""
    base = rng.pick([metal_tray, wood_board, round_board])(rng, group)
    sheet = rng.pick([materials.checked_paper(rng), materials.paper(rng, rng.pick(["efece4", "c2a274"]))])
    half = base.radius * rng.uniform(1.0, 1.15)
    line = np.linspace(-half, half, 48)
    x, y = line[:, None], line[None]
    shift = rng.uniform(0, 90)
    folds = 0.022 + 0.016 * fbm(x * 1.3 + shift, y * 1.3, 0, 3)
    curl = 0.16 * (np.abs(x / half) ** 8 + np.abs(y / half) ** 8) * (1 + fbm(x + shift, y, 5, 2))
    turn = rng.uniform(0, 1.5)
    group.add(Part((points(x, y, folds + curl), grid_faces(48, 48)), sheet), (0, 0, base.height), (0, 0, turn))
    return Surface(base.radius * 0.95, base.height + 0.035, max(base.outer_radius, half * 1.3))


BUILDERS = {
    builder.__name__: builder
    for builder in (
        white_plate, coloured_plate, coupe, oval_plate, square_plate, wood_board, round_board, slate_board, stone_slab,
        pan, metal_tray, paper_plate, cardboard_box, lacquer_tray, plastic_tray, lined_basket,
    )
}  # fmt: skip
