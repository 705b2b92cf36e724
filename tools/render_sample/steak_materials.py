"""Seared crust, cut meat, fat and bone."""

import math
from dataclasses import dataclass

import bpy

from tools.render_sample.draw import Draw
from tools.render_sample.shading import Shader, plain, vary

CORES = {"raw": ("7c1a20", "a03a3c"), "rare": ("94282a", "b0504a"), "medium": ("b06a5e", "b07a66"),
         "well": ("8c6450", "7c563e")}  # middle, and on the way out  # fmt: skip
SEARS = [("1f0d07", "45200f", "6c3a20", "925c36"), ("1a0f0a", "331c12", "52301f", "704a34"),
         ("200f08", "3e1f10", "5c331f", "7e5234")]  # dark to light  # fmt: skip


@dataclass(frozen=True)
class Sear:
    """How the outside was cooked."""

    strength: float  # 0 pale, 1 charred
    grill_lines: int  # 0: pan, 1: stripes, 2: lattice
    pepper: float  # share of the surface with ground pepper


def _grill(rng: Draw, shader: Shader, lines: int, ragged: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    """Return a mask of grill marks, fainter in places."""
    angle, pitch = rng.uniform(0, 3.1), rng.uniform(0.16, 0.3)
    x, y = shader.axes()[:2]
    marks = []
    for turn in [angle, angle + rng.uniform(1.2, 1.7)][:lines]:
        across = shader.blend((x, math.cos(turn)), (y, math.sin(turn)), (ragged, 0.09), (20.0, 1.0))
        stripe = shader.math("PINGPONG", across, pitch / 2)
        marks.append(shader.step(stripe, pitch * 0.19, pitch * 0.07))
    mark = marks[0] if lines == 1 else shader.math("MAXIMUM", *marks)
    fade = shader.step(shader.noise(1.8, 3), 0.36, 0.56, 0.15, 1.0)
    return shader.math(
        "MULTIPLY", shader.math("MULTIPLY", mark, fade), shader.step(shader.mask("side"), 0.3, 0.5, 1, 0)
    )


def crust_material(rng: Draw, sear: Sear) -> bpy.types.Material:
    """Return the seared outside; needs the masks `fat` and `side`."""
    shader = Shader(rng.uniform(0, 50))
    broad, middle, fine = shader.noise(2.5, 5, 0.6, 0.3), shader.noise(7, 6, 0.68, 0.5), shader.noise(20, 5, 0.7)
    fibres = shader.noise(5, 5, 0.65, 0.6, shader.stretched((1.4, 3.4, 2), rng.uniform(-0.6, 0.6)))
    tones = rng.pick(SEARS)
    blend = shader.blend((middle, 0.4), (fine, 0.42), (fibres, 0.18))
    colour = shader.ramp(
        blend, [(p, vary(rng, tone, 0.12)) for p, tone in zip((0.38, 0.46, 0.53, 0.62), tones, strict=True)]
    )
    char = shader.step(
        shader.blend((broad, 0.6), (fine, 0.4)), 0.55 - 0.08 * sear.strength, 0.64, 0, 0.1 + 0.45 * sear.strength
    )
    colour = shader.mix(char, colour, vary(rng, "1c0f09", 0.1))
    sinew = shader.math("ABSOLUTE", shader.math("SUBTRACT", shader.noise(1.9, 4, 0.65, 1.3), 0.5))
    colour = shader.mix(shader.step(sinew, 0.014, 0.0, 0, rng.uniform(0.0, 0.4)), colour, vary(rng, "a8763f"))
    fat = shader.step(shader.blend((shader.mask("fat"), 1.0), (middle, 0.9), (0.45, -1.0)), 0.45, 0.65)
    rendered = shader.ramp(
        middle, [(0.34, vary(rng, "6f3a18")), (0.48, vary(rng, "b98548")), (0.63, vary(rng, "dcbd86"))]
    )
    colour = shader.mix(fat, colour, rendered)
    flank = shader.mix(middle, vary(rng, "84503c"), vary(rng, "5c3020"))
    colour = shader.mix(shader.step(shader.mask("side"), 0.35, 0.8, 0, 0.75 - 0.5 * sear.strength), colour, flank)
    height = shader.blend((fine, 0.8), (fibres, 0.5), (middle, 0.6))
    if sear.grill_lines:
        marks = _grill(rng, shader, sear.grill_lines, middle)
        colour = shader.mix(shader.math("MULTIPLY", marks, 0.88), colour, "0f0705")
        height = shader.blend((height, 1.0), (marks, -0.5))
    ground = shader.math(
        "MULTIPLY", shader.step(shader.cells(26), 0.13, 0.08), shader.step(shader.noise(4, 2), 0.5, 0.6, 0, sear.pepper)
    )
    colour = shader.mix(ground, colour, "120d0a")
    roughness = shader.step(shader.blend((fine, 0.5), (broad, 0.5)), 0.42, 0.58, rng.uniform(0.26, 0.4), 0.65)
    return shader.finish(
        colour=colour, roughness=roughness, coat=rng.uniform(0.0, 0.12), normal=shader.bump(height, 1.0, 0.05)
    )


def meat_material(rng: Draw, doneness: str) -> bpy.types.Material:
    """Return cut meat; needs the mask `depth`: 0 in the middle, 1 at the seared edge."""
    shader = Shader(rng.uniform(0, 50))
    middle, outer = CORES[doneness]
    grain = shader.noise(11, 5, 0.65, 0.4)
    threads = shader.noise(6, 5, 0.7, 0.3, shader.stretched((1, 5, 2), rng.uniform(0, 3)))
    depth = shader.blend((shader.mask("depth"), 1.0), (shader.noise(4, 3), 0.24), (0.5, -0.24))
    edge = rng.uniform(0.5, 0.68)
    browning = [(0.82, "a07660"), (0.91, "744a34"), (0.96, "40200f"), (1.0, "22100a")]
    tones = [(0.0, middle), (edge, outer), *browning]
    colour = shader.ramp(depth, [(position, vary(rng, tone)) for position, tone in tones])
    colour = shader.mix(shader.step(threads, 0.5, 0.64, 0, 0.4), colour, vary(rng, "caa08c"))
    colour = shader.mix(shader.step(grain, 0.4, 0.6, 0.45, 0), colour, vary(rng, "5f1c1a"), "MULTIPLY")
    marble = shader.math("ABSOLUTE", shader.math("SUBTRACT", shader.noise(3.0, 4, 0.6, 1.0), 0.5))
    colour = shader.mix(shader.step(marble, rng.uniform(0.012, 0.035), 0, 0, 0.6), colour, "dcc0a2")
    roughness = shader.step(grain, 0.4, 0.6, 0.22, 0.5)
    bump = shader.bump(shader.blend((grain, 1.0), (threads, 0.8)), 0.6, 0.025)
    return shader.finish(colour=colour, roughness=roughness, subsurface=0.08, subsurface_scale=0.03, normal=bump)


def bone_material(rng: Draw) -> bpy.types.Material:
    """Return roasted bone."""
    shader = Shader(rng.uniform(0, 50))
    tone = shader.noise(5, 5, 0.65)
    colour = shader.ramp(tone, [(0.36, vary(rng, "5a3218")), (0.5, vary(rng, "a8824f")), (0.64, vary(rng, "d6c09a"))])
    return shader.finish(colour=colour, roughness=0.55, normal=shader.bump(shader.noise(12), 0.5, 0.02))


def sauce_material(rng: Draw) -> bpy.types.Material:
    """Return gravy, cream sauce or green herb sauce with bits in it."""
    shader = Shader(rng.uniform(0, 50))
    tone, bits = rng.pick(
        [("3a1a0a", "1c0c05"), ("c8a878", "3a2a1c"), ("5a3a1c", "2a180c"), ("3e4620", "26320f"), ("6a2e16", "3a1208")]
    )
    specks = shader.step(shader.cells(14), 0.2, 0.12, 0, rng.uniform(0, 0.9))
    colour = shader.mix(specks, shader.mix(shader.noise(3, 4), vary(rng, tone), vary(rng, tone, 0.2)), vary(rng, bits))
    bump = shader.bump(shader.blend((shader.noise(6, 4), 1.0), (specks, 0.5)), 0.4, 0.03)
    return shader.finish(colour=colour, roughness=0.12, specular=0.6, coat=0.4, normal=bump)


def butter_material(rng: Draw) -> bpy.types.Material:
    """Return butter."""
    return plain(vary(rng, "e8cf7a", 0.05), 0.35, subsurface=0.2, subsurface_scale=0.04)
