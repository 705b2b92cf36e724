"""Shapes and materials that several dishes share: leaves, rice, slices, puddles."""

import math

import bpy
import numpy as np

from tools.render_sample.draw import Draw
from tools.render_sample.geometry import (
    Part,
    Shape,
    circle,
    copies,
    frames_along,
    grid_faces,
    lathe,
    points,
    superellipsoid,
)
from tools.render_sample.noise import fbm
from tools.render_sample.shading import Shader, plain, vary

GRAIN = (0.047, 0.023, 0.022)  # half sizes of a grain of rice


def leaf_shape(rng: Draw, length: float, width: float, cup: float = 0.4, crumple: float = 0.06) -> tuple[Shape, dict]:
    """Return a leaf along x, and its mask `rib` (0 on the rib, 1 at the edge)."""
    along, across = np.linspace(0, 1, 18)[:, None], np.linspace(-1, 1, 9)[None]
    half = width * np.sin(math.pi * along ** rng.uniform(0.7, 1.2)) ** 0.8 + 0.004
    shift, curl = rng.uniform(0, 90), rng.uniform(-0.2, 0.6)
    x = (along - 0.5) * length + 0 * across
    y = half * across + 0.15 * length * rng.normal(0.3) * (along - 0.5) ** 2
    z = cup * half * across**2 - curl * length * (along - 0.5) ** 2
    z = z + crumple * length * fbm(x / length * 4 + shift, y / width * 1.5, 0, 3)
    return (points(x, y, z), grid_faces(18, 9)), {"rib": np.broadcast_to(np.abs(across), x.shape).ravel()}


def rocket_shape(rng: Draw, length: float) -> tuple[Shape, dict]:
    """Return a lobed rocket leaf along x, and its mask `rib`."""
    (vertices, faces), masks = leaf_shape(rng, length, 0.2 * length, rng.uniform(0, 0.8), 0.1)
    along = vertices[:, 0] / length + 0.5
    lobes = 0.25 + 0.75 * np.abs(np.sin(along * math.pi * 2.6)) ** 0.7
    vertices[:, 1] *= np.where(along < 0.35, 0.18, lobes)
    return (vertices, faces), masks


def rice_material(rng: Draw) -> bpy.types.Material:
    """Return cooked rice: white to cream, faintly translucent."""
    shader = Shader(rng.uniform(0, 50))
    tone = rng.pick([("e6e2d6", "f4f2ea"), ("ded6c0", "efe8d6"), ("d9cdb0", "eadfc6")])
    colour = shader.mix(shader.noise(14, 2), vary(rng, tone[0], 0.03), vary(rng, tone[1], 0.02))
    return shader.finish(colour=colour, roughness=0.4, subsurface=0.15, subsurface_scale=0.03, coat=0.1)


def rice_grains(rng: Draw, positions: np.ndarray, normals: np.ndarray, tilt: float = 0.22) -> Shape:
    """Return one grain at each position, lying roughly in the surface with the given normals."""
    count = len(positions)
    tilted = normals + rng.arrays.normal(0, tilt, (count, 3))
    tilted /= np.linalg.norm(tilted, axis=1, keepdims=True)
    sizes = np.array(GRAIN) * rng.arrays.uniform(0.8, 1.15, (count, 3))
    return copies(superellipsoid((1, 1, 1), 1, 1, 8, 9), positions, frames_along(tilted, rng.arrays), sizes)


def disc_shape(
    rng: Draw, radius: float, thickness: float, cup: float = 0.0, wobble: float = 0.05
) -> tuple[Shape, dict]:
    """Return a slice lying on z = 0, and its mask `rim` (0 in the middle, 1 at the edge)."""
    inner = np.linspace(1e-3, 0.96, 14)
    reach = np.concatenate([inner, [1, 1, 0.97]])[:, None]
    height = np.concatenate([np.full(14, thickness), [0.8 * thickness, 0, -0.01]])[:, None]
    angle, shift = circle(40), rng.uniform(0, 90)
    outline = radius * (1 + wobble * fbm(np.cos(angle) + shift, np.sin(angle), 0, 3))
    x, y = reach * outline * np.cos(angle), reach * outline * np.sin(angle)
    curl = cup * reach**3 * (1 + 0.8 * fbm(np.cos(angle) * 0.8 + shift, np.sin(angle) * 0.8, 3, 2))
    z = height + curl + 0.1 * thickness * fbm(x / radius * 3 + shift, y / radius * 3)
    masks = {"rim": np.broadcast_to(reach, x.shape).ravel()}
    return (points(x, y, z), grid_faces(17, 40, wrap_columns=True)), masks


def puddle(rng: Draw, radius: float, thickness: float, wobble: float = 0.22) -> Shape:
    """Return a drop or puddle of liquid with an irregular outline and a rounded edge."""
    angle, reach, shift = circle(240), np.linspace(0.01, 1, 16)[:, None], rng.uniform(0, 90)
    outline = radius * (1 + wobble * fbm(np.cos(angle) * 1.4 + shift, np.sin(angle) * 1.4, 0, 3))
    z = thickness * np.sqrt(1 - reach**5)
    return points(reach * outline * np.cos(angle), reach * outline * np.sin(angle), z), grid_faces(
        16, 240, wrap_columns=True
    )


def tomato_material(rng: Draw) -> bpy.types.Material:
    """Return the skin of a tomato."""
    shader = Shader(rng.uniform(0, 50))
    colour = shader.mix(shader.noise(2, 3), vary(rng, "a8180c"), vary(rng, "c8401a"))
    return shader.finish(colour=colour, roughness=0.2, coat=0.3)


def citrus_part(rng: Draw, radius: float) -> list[Part]:
    """Return a wheel of lemon: segments in a white rind."""
    shape, masks = disc_shape(rng, radius, 0.07, 0.0, 0.02)
    vertices = shape[0]
    segments = np.abs(np.sin(np.arctan2(vertices[:, 1], vertices[:, 0]) * 4.5))
    shader = Shader(rng.uniform(0, 50))
    flesh = shader.mix(shader.step(shader.mask("segment"), 0.12, 0.3), "f0e6b0", vary(rng, "e0c23a"))
    colour = shader.mix(shader.step(shader.mask("rim"), 0.82, 0.87), flesh, "f2ecd2")
    colour = shader.mix(shader.step(shader.mask("rim"), 0.95, 0.98), colour, vary(rng, "d9b01c"))
    material = shader.finish(colour=colour, roughness=0.25, normal=shader.bump(shader.noise(16), 0.3, 0.02))
    return [Part(shape, material, {**masks, "segment": segments})]


def cucumber_part(rng: Draw, radius: float) -> list[Part]:
    """Return a slice of cucumber."""
    shape, masks = disc_shape(rng, radius, 0.04, 0.0, 0.02)
    shader = Shader(rng.uniform(0, 50))
    rim = shader.mask("rim")
    flesh = shader.mix(shader.step(rim, 0.3, 0.55), vary(rng, "bccf8a"), vary(rng, "d8e2b4"))
    colour = shader.mix(shader.step(rim, 0.88, 0.93), flesh, vary(rng, "2c4f1e"))
    return [Part(shape, shader.finish(colour=colour, roughness=0.3), masks)]


def dip_bowl(rng: Draw, radius: float, ceramic: bpy.types.Material, sauce: bpy.types.Material) -> list[Part]:
    """Return a small bowl filled with sauce."""
    bowl = lathe(
        [(0, 0.04), (0.65 * radius, 0.05), (0.93 * radius, 0.22), (radius, 0.22), (0.75 * radius, 0), (0, 0)], 48
    )
    return [Part(bowl, ceramic), Part(lathe([(0, 0.15), (0.86 * radius, 0.15)], 48), sauce)]


def plain_varied(rng: Draw, colour: str) -> bpy.types.Material:
    """Return a matte material of about the given colour."""
    return plain(vary(rng, colour), 0.5)
