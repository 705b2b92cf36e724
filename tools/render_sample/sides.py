"""Side dishes: any of them may lie beside any food."""

import math

import bpy
import numpy as np

from tools.render_sample import bites, materials
from tools.render_sample.draw import Draw
from tools.render_sample.geometry import Group, Part, blob, box
from tools.render_sample.noise import fbm
from tools.render_sample.props import SAUCES
from tools.render_sample.shading import Shader, vary

GREENS = [("44682a", "243f17"), ("5f7f36", "365a20"), ("36521f", "1a3010"), ("5a2c3a", "341420")]


def fries(rng: Draw, group: Group, room: float) -> None:
    """Add a heap of fries."""
    shader = Shader(rng.uniform(0, 50))
    tone = shader.noise(4, 4)
    colour = shader.ramp(tone, [(0.32, vary(rng, "e6c36a")), (0.52, vary(rng, "cf9238")), (0.7, vary(rng, "8f5418"))])
    material = shader.finish(colour=colour, roughness=0.5, normal=shader.bump(shader.noise(15), 0.5, 0.03))
    for number in range(rng.integer(14, 30)):
        length, thick = rng.uniform(0.35, 0.8), rng.uniform(0.06, 0.09)
        vertices, faces = box((length, thick, thick))
        vertices[:, 2] += rng.normal(0.12) * vertices[:, 0] ** 2 / length
        place = (rng.normal(0.36) * room, rng.normal(0.36) * room, 0.01 + 0.035 * (number // 3))
        group.add(Part((vertices, faces), material), place, (rng.normal(0.15), rng.normal(0.25), rng.uniform(0, 6)))


def rice(rng: Draw, group: Group, room: float) -> None:
    """Add a mound of rice."""
    count = 900
    reach, angle = np.sqrt(rng.arrays.uniform(0, 1, count)), rng.arrays.uniform(0, 2 * math.pi, count)
    x, y = room * reach * np.cos(angle), room * reach * np.sin(angle)
    height = rng.uniform(0.3, 0.55) * room * np.sqrt(1 - np.clip(reach, 0, 0.99) ** 2) * (1 + 0.25 * fbm(x * 3, y * 3))
    normals = np.stack([x, y, 0.6 * room + 0 * x], 1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    grains = bites.rice_grains(rng, np.stack([x, y, height], 1), normals, 0.6)
    material = bites.rice_material(rng)
    core = blob((0.92 * room, 0.92 * room, 0.3 * room), 0.1, 1.5, rng.uniform(0, 90))
    group.add([Part(grains, material), Part(core, material)])


def salad(rng: Draw, group: Group, room: float) -> None:
    """Add a tangle of leaves."""
    tints = [materials.leaf(rng.child(f"tint {k}"), rng.pick(GREENS)) for k in range(3)]
    for number in range(rng.integer(10, 20)):
        if rng.chance(0.3):
            shape, masks = bites.rocket_shape(rng, rng.uniform(0.5, 0.8))
        else:
            shape, masks = bites.leaf_shape(rng, rng.uniform(0.3, 0.6), rng.uniform(0.1, 0.2), rng.uniform(0, 1), 0.12)
        place = (rng.normal(0.4) * room, rng.normal(0.4) * room, 0.05 + 0.012 * number)
        group.add(Part(shape, rng.pick(tints), masks), place, (rng.normal(0.35), rng.normal(0.35), rng.uniform(0, 6)))


def tomatoes(rng: Draw, group: Group, room: float) -> None:
    """Add small tomatoes, some wrinkled by heat."""
    material = bites.tomato_material(rng)
    wrinkle = rng.pick([0.02, 0.07])
    for number in range(rng.integer(3, 6)):
        r = rng.uniform(0.12, 0.17)
        angle = number * 1.9 + rng.uniform(0, 0.5)
        place = (0.5 * room * math.cos(angle), 0.5 * room * math.sin(angle), 0.9 * r)
        group.add(Part(blob((r, r, 0.9 * r), wrinkle, 2.0, rng.uniform(0, 90), 1.0), material), place)


def lemon(rng: Draw, group: Group, room: float) -> None:
    """Add slices of lemon."""
    for number in range(rng.integer(2, 3)):
        place = (rng.normal(0.2) * room + 0.12 * number, rng.normal(0.25) * room, 0.02 + 0.05 * number)
        group.add(
            bites.citrus_part(rng, rng.uniform(0.24, 0.3)), place, (rng.normal(0.12), 0.2 * number, rng.uniform(0, 6))
        )


def potatoes(rng: Draw, group: Group, room: float) -> None:
    """Add roast potatoes, browned at the edges."""
    shader = Shader(rng.uniform(0, 50))
    tone = shader.noise(5, 6, 0.65)
    colour = shader.ramp(tone, [(0.36, vary(rng, "5f3312")), (0.47, vary(rng, "a86c28")), (0.6, vary(rng, "d9b262"))])
    material = shader.finish(colour=colour, roughness=0.55, normal=shader.bump(shader.noise(14), 0.6, 0.03))
    for number in range(rng.integer(4, 8)):
        r, angle = rng.uniform(0.13, 0.2), number * 2.4
        reach = 0.55 * room * math.sqrt(number / 6)
        shape = blob((1.3 * r, r, 0.85 * r), 0.12, 1.4, rng.uniform(0, 90), rng.uniform(0.5, 0.8))
        group.add(
            Part(shape, material),
            (reach * math.cos(angle), reach * math.sin(angle), 0.8 * r),
            (0, rng.normal(0.2), rng.uniform(0, 6)),
        )


def cucumber(rng: Draw, group: Group, room: float) -> None:
    """Add a fan of cucumber slices."""
    for number in range(rng.integer(4, 7)):
        place = (0.16 * (number - 3), rng.normal(0.04), 0.02 + 0.02 * number)
        group.add(bites.cucumber_part(rng, rng.uniform(0.2, 0.24)), place, (rng.normal(0.05), -0.15, 0))


def pickles(rng: Draw, group: Group, room: float) -> None:
    """Add a small heap of thin pickled slices: ginger, onion or radish."""
    shader = Shader(rng.uniform(0, 50))
    pale, deep = rng.pick([("ecc0a6", "dca088"), ("d8a0b4", "a04a70"), ("e4d49a", "c9ae5a")])
    colour = shader.mix(shader.step(shader.noise(4, 4), 0.4, 0.6), vary(rng, pale), vary(rng, deep))
    material = shader.finish(colour=colour, roughness=0.3, coat=0.15, normal=shader.bump(shader.noise(10), 0.4, 0.02))
    for number in range(rng.integer(8, 14)):
        shape, masks = bites.leaf_shape(
            rng, rng.uniform(0.26, 0.42), rng.uniform(0.08, 0.14), rng.uniform(-0.5, 1), 0.2
        )
        place = (rng.normal(0.18) * room, rng.normal(0.18) * room, 0.04 + 0.018 * number)
        group.add(Part(shape, material, masks), place, (rng.normal(0.4), rng.normal(0.4), rng.uniform(0, 6)))


def sauce_bowl(rng: Draw, group: Group, room: float) -> None:
    """Add a dip."""
    sauce = materials.liquid(vary(rng, rng.pick(SAUCES)))
    group.add(bites.dip_bowl(rng, min(room, 0.42), materials.ceramic(rng), sauce))


BUILDERS = {
    builder.__name__: builder
    for builder in (fries, rice, salad, tomatoes, lemon, potatoes, cucumber, pickles, sauce_bowl)
}


def add_side(rng: Draw, name: str, parent: bpy.types.Object, x: float, y: float, z: float, room: float) -> None:
    """Put a side dish on the dish at (x, y, z), about `room` in radius."""
    group = Group(f"side {name}", (x, y, z))
    group.parent.parent = parent
    BUILDERS[name](rng, group, room)
