"""Single pieces of sushi, each one mesh that may be placed many times."""

import math

import bpy
import numpy as np

from tools.render_sample import bites, sushi_materials
from tools.render_sample.draw import Draw
from tools.render_sample.geometry import (
    Part,
    blob,
    circle,
    copies,
    frames_along,
    grid_faces,
    lathe,
    new_mesh,
    points,
    signed_power,
    superellipsoid,
    unit_vectors,
)  # fmt: skip
from tools.render_sample.noise import fbm

BODY = (0.44, 0.21, 0.15)  # half sizes of the rice under a nigiri


def _rice_body(rng: Draw, rice: bpy.types.Material, size: tuple[float, float, float], count: int) -> list[Part]:
    """Return a rounded block of rice covered with grains, standing on z = 0."""
    core, faces = superellipsoid(tuple(0.96 * half for half in size), 0.7, 0.75)
    directions = unit_vectors(count, rng.arrays)
    exponent = 2 / 0.72
    reach = (np.abs(directions) ** exponent).sum(1, keepdims=True) ** (-1 / exponent)
    places = directions * reach * np.array(size)
    places *= 1 + 0.04 * fbm(*(directions * 2 + rng.uniform(0, 90)).T)[:, None]
    normals = places / np.array(size) ** 2
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    lift = np.array([0, 0, size[2]])
    return [Part((core + lift, faces), rice), Part(bites.rice_grains(rng, places + lift, normals), rice)]


def _slice_over(rng: Draw, thickness: float, flat: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a slice that hangs over the rice, and its mask `side`."""
    a, b, c = BODY
    (vertices, faces) = superellipsoid(
        (a * rng.uniform(1.05, 1.3), b * rng.uniform(0.88, 1.1), thickness), 0.35, rng.uniform(0.45, 0.8), 26, 80
    )
    x, y, z = vertices.T.copy()
    side = np.clip(np.maximum(np.abs(x) / a, np.abs(y) / b) - 0.4, 0, 1)
    if not flat:
        y = y * (1 - rng.uniform(0, 0.3) * x / a)
        x = x + rng.normal(0.25) * y
    shift, droop = rng.uniform(0, 90), 0.0 if flat else 1.0
    top = 2 * c + 0.55 * thickness - droop * (0.42 * np.abs(x) ** 2.4 + 1.2 * np.abs(y) ** 2)
    bumps = fbm(x * 3 + shift, y * 3, 0, 4)
    return points(x, y + 0.01 * bumps, z * (1 + 0.3 * bumps) + top + 0.016 * bumps), faces, side


def nigiri(rng: Draw, kind: str, rice: bpy.types.Material) -> bpy.types.Mesh:
    """Return rice with a slice on top."""
    parts = _rice_body(rng, rice, BODY, 480)
    thickness = 0.075 if kind == "omelette" else rng.uniform(0.03, 0.05)
    vertices, faces, side = _slice_over(rng, thickness, kind == "omelette")
    parts.append(Part((vertices, faces), sushi_materials.NIGIRI[kind](rng.child("slice")), {"side": side}))
    if kind == "omelette" or rng.chance(0.1):
        angle, width = circle(48), np.array([-0.06, -0.06, 0.06, 0.06])[:, None]
        swell = np.array([0.97, 1, 1, 0.97])[:, None]
        y = swell * BODY[1] * 1.2 * signed_power(np.cos(angle), 0.5)
        z = 0.205 + swell * 0.25 * signed_power(np.sin(angle), 0.5)
        parts.append(Part((points(width, y, z), grid_faces(4, 48, wrap_columns=True)), sushi_materials.seaweed(rng)))
    return new_mesh(parts)


def _fillings(rng: Draw, radius: float, count: int, height: float) -> tuple[list[Part], np.ndarray]:
    """Return columns of filling packed into a disc, and (N, 3) circles they occupy."""
    parts, circles, turn = [], [], rng.uniform(0, 6)
    for number, kind in enumerate(rng.sample(list(sushi_materials.FILLINGS), count)):
        angle = turn + number * 2 * math.pi / count
        reach = 0.0 if count == 1 else radius * (0.45 if count == 2 else 0.55)
        size = radius * (0.85 if count == 1 else 0.55 if count < 4 else 0.46)
        x, y = reach * math.cos(angle), reach * math.sin(angle)
        block = (size * rng.uniform(0.8, 1.05), size * rng.uniform(0.7, 1.0), height / 2)
        vertices, faces = blob(block, 0.1, 1.6, rng.uniform(0, 90), 0.12)
        turned = angle + rng.normal(0.4)
        rotation = np.array(
            [[math.cos(turned), math.sin(turned), 0], [-math.sin(turned), math.cos(turned), 0], [0, 0, 1]]
        )
        vertices = vertices @ rotation + [x, y, height / 2 + rng.uniform(-0.01, 0.02)]
        parts.append(Part((vertices, faces), sushi_materials.filling(rng.child(kind), kind)))
        circles.append((x, y, size))
    return parts, np.array(circles)


def _face_rice(rng: Draw, rice: bpy.types.Material, radius: float, height: float, circles: np.ndarray) -> list[Part]:
    """Return the grains on both cut faces, between the fillings."""
    count = int(420 * (radius / 0.3) ** 2)
    reach, angle = np.sqrt(rng.arrays.uniform(0, 1, count)) * (radius - 0.03), rng.arrays.uniform(0, 2 * math.pi, count)
    x, y = reach * np.cos(angle), reach * np.sin(angle)
    free = (np.hypot(x[:, None] - circles[:, 0], y[:, None] - circles[:, 1]) > circles[:, 2] * 0.95).all(1)
    ends = height - 0.03 + rng.arrays.uniform(-0.01, 0.008, count)
    places = np.concatenate([np.stack([x, y, level], 1)[free] for level in (ends, height - ends)])
    bed = lathe([(0, height - 0.04), (radius, height - 0.04), (radius, 0.04), (0, 0.04)], 40)
    return [Part(bites.rice_grains(rng, places, np.tile([0, 0, 1.0], (len(places), 1)), 0.16), rice), Part(bed, rice)]


def _sheet(rng: Draw, radius: float, height: float) -> Part:
    """Return the ring of seaweed around a roll, uneven at the edges."""
    angle, shift = circle(64), rng.uniform(0, 90)
    rows = np.array([[0.95, 0.2], [0.95, -0.01], [1, 0], [1, 1], [0.95, 1.02], [0.95, 0.8]])
    wobble = 1 + 0.025 * fbm(np.cos(angle) * 1.5 + shift, np.sin(angle) * 1.5, 0, 3)
    reach = rows[:, :1] * radius * wobble
    level = rows[:, 1:] * height + 0.012 * fbm(np.cos(angle) * 3 + shift, np.sin(angle) * 3, 2, 3) * rows[:, 1:]
    shape = points(reach * np.cos(angle), reach * np.sin(angle), level), grid_faces(6, 64, wrap_columns=True)
    return Part(shape, sushi_materials.seaweed(rng))


def _around(rng: Draw, count: int, radius: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    """Return random places on the side of a roll, and their normals."""
    angle = rng.arrays.uniform(0, 2 * math.pi, count)
    normals = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    return normals * radius + [0, 0, 1] * rng.arrays.uniform(0.02, height - 0.01, (count, 1)), normals


def roll(
    rng: Draw, radius: float, height: float, filling_count: int, rice: bpy.types.Material, coat: str | None
) -> bpy.types.Mesh:
    """Return a slice of a roll standing on its cut side; inside out if it has a coat."""
    inner = radius * (0.52 if filling_count == 1 else 0.66) * (0.85 if coat else 1)
    parts, circles = _fillings(rng, inner, filling_count, height)
    parts += _face_rice(rng, rice, radius * 0.96, height, circles)
    if coat is None:
        return new_mesh([*parts, _sheet(rng, radius, height)])
    parts.append(_sheet(rng, inner * 1.15, height))
    grains = bites.rice_grains(rng, *_around(rng, 280, radius * 0.955, height))
    parts.append(Part(grains, rice))
    count, size = {
        "plain": (0, ()),
        "sesame": (60, (0.024, 0.013, 0.009)),
        "roe": (420, (0.018,) * 3),
        "crisp": (160, (0.035, 0.022, 0.016)),
    }[coat]
    if count:
        places, normals = _around(rng, count, radius + 0.015, height)
        material = {
            "sesame": lambda: bites.plain_varied(rng, rng.pick(["dcc48e", "1a1612"])),
            "roe": lambda: sushi_materials.roe(rng, False), "crisp": lambda: bites.plain_varied(rng, "b8803a"),
        }[coat]()  # fmt: skip
        grain = superellipsoid((1, 1, 1), 1, 1, 7, 8)
        sizes = np.array(size) * rng.arrays.uniform(0.7, 1.2, (count, 3))
        parts.append(Part(copies(grain, places, frames_along(normals, rng.arrays), sizes), material))
    return new_mesh(parts)


def gunkan(rng: Draw, large_roe: bool, rice: bpy.types.Material) -> bpy.types.Mesh:
    """Return a boat of seaweed filled with roe."""
    a, b, height = 0.34, 0.22, 0.3
    angle = circle(64)
    rows = np.array([[1, 0], [1, 1], [0.95, 1.02], [0.95, 0.6]])
    lift = 0.02 * fbm(np.cos(angle) * 2 + rng.uniform(0, 90), np.sin(angle) * 2, 0, 3) * rows[:, 1:]
    ring = points(
        rows[:, :1] * a * signed_power(np.cos(angle), 0.8),
        rows[:, :1] * b * signed_power(np.sin(angle), 0.8),
        rows[:, 1:] * height + lift,
    )
    bed, bed_faces = superellipsoid((0.94 * a, 0.94 * b, 0.12), 0.5, 0.8)
    count, size = (70, 0.048) if large_roe else (420, 0.018)
    reach, turn = np.sqrt(rng.arrays.uniform(0, 1, count)) * 0.88, rng.arrays.uniform(0, 2 * math.pi, count)
    places = np.stack(
        [
            a * reach * np.cos(turn),
            b * reach * np.sin(turn),
            height - 0.03 + 0.06 * (1 - reach**2) + rng.arrays.uniform(0, size, count),
        ],
        1,
    )
    frames = np.tile(np.eye(3), (count, 1, 1))
    ball = superellipsoid((1, 1, 1), 1, 1, 10, 14) if large_roe else superellipsoid((1, 1, 1), 1, 1, 6, 8)
    eggs = copies(ball, places, frames, size * rng.arrays.uniform(0.85, 1.05, (count, 1)) * np.ones(3))
    return new_mesh([
        Part((ring, grid_faces(4, 64, wrap_columns=True)), sushi_materials.seaweed(rng)),
        Part((bed + np.array([0, 0, height - 0.16]), bed_faces), rice), Part(eggs, sushi_materials.roe(rng, large_roe)),
    ])  # fmt: skip


def sashimi(rng: Draw, kind: str) -> bpy.types.Mesh:
    """Return a thick slice without rice, lying on z = 0."""
    (vertices, faces) = superellipsoid(
        (rng.uniform(0.3, 0.42), rng.uniform(0.16, 0.24), rng.uniform(0.035, 0.06)), 0.3, 0.5, 24, 60
    )
    x, y, z = vertices.T.copy()
    side = np.clip(np.maximum(np.abs(x) / 0.35, np.abs(y) / 0.2) - 0.4, 0, 1)
    bumps = fbm(x * 3 + rng.uniform(0, 90), y * 3, 0, 4)
    shape = (
        points(x + rng.normal(0.3) * y, y * (1 - 0.4 * x), z + 0.06 + 0.015 * bumps + 0.12 * rng.uniform(0, 1) * x**2),
        faces,
    )
    return new_mesh([Part(shape, sushi_materials.NIGIRI[kind](rng.child("slice")), {"side": side})])
