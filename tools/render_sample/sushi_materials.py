"""Fish, seaweed, roe and fillings."""

from collections.abc import Callable
from functools import partial

import bpy

from tools.render_sample.draw import Draw
from tools.render_sample.shading import Shader, plain, vary

TONES = {  # flesh, its variation, and the streaks of fat
    "salmon": ("d0561c", "dc7434", "eebb92"),
    "tuna": ("7a1420", "9c2a30", "bb5a58"),
    "fatty_tuna": ("b8545a", "cc7a78", "ecc8bc"),
    "white_fish": ("dfcabc", "e8dcd0", "d49c8c"),
    "eel": ("5a2c12", "8a4e22", "2a1208"),
    "beef": ("6a2420", "8a4034", "c89a84"),
    "mackerel": ("b8a8a0", "c8bcb0", "5a6470"),
}
SEAR_COLOURS = ("7a4a2c", "2a140a")
FILLINGS = {
    "salmon": "d4622a", "tuna": "8c1c26", "cucumber": "8fae5c", "avocado": "a8ac50", "crab": "d8694a", "egg": "dcb03a",
    "carrot": "cc6414", "fried_prawn": "b8823e", "beef": "6a3a26", "pickle": "d2aa28", "cheese": "e8dfc8",
}  # fmt: skip


def fish(rng: Draw, kind: str, seared: bool = False) -> bpy.types.Material:
    """Return a slice of fish or meat with its grain; needs the mask `side` (1 at the edge) if seared."""
    shader = Shader(rng.uniform(0, 50))
    flesh, second, streak = TONES[kind]
    turn = rng.uniform(0.4, 1.0) * rng.pick([-1, 1])
    bands = shader.waves(rng.uniform(2.0, 3.6), rng.uniform(4, 9), shader.stretched((1, 0.5, 0.8), turn))
    clouds, fine = shader.noise(3, 5, 0.6), shader.noise(9, 5, 0.6)
    colour = shader.mix(shader.step(clouds, 0.35, 0.65), vary(rng, flesh), vary(rng, second))
    strength = shader.step(shader.noise(1.4, 3), 0.35, 0.65, 0.15, 0.65)
    colour = shader.mix(shader.math("MULTIPLY", shader.step(bands, 0.6, 1.0), strength), colour, vary(rng, streak))
    if seared:
        brown, black = SEAR_COLOURS
        burn = shader.blend((fine, 0.9), (clouds, 0.6), (shader.mask("side"), 0.25))
        colour = shader.mix(shader.step(burn, 0.66, 0.86, 0, 0.85), colour, vary(rng, brown))
        colour = shader.mix(shader.step(burn, 0.84, 0.98, 0, 0.8), colour, black)
    bump = shader.bump(shader.blend((clouds, 0.8), (fine, 0.6), (bands, 0.25)), 0.5, 0.03)
    roughness = shader.step(fine, 0.4, 0.6, 0.22, 0.45)
    return shader.finish(
        colour=colour, roughness=roughness, coat=0.12, subsurface=0.08, subsurface_scale=0.03, normal=bump
    )


def prawn(rng: Draw) -> bpy.types.Material:
    """Return cooked prawn: ragged orange bands that fade towards the belly."""
    shader = Shader(rng.uniform(0, 50))
    bands = shader.waves(rng.uniform(1.6, 2.4), rng.uniform(4, 8), shader.stretched((1, 0.25, 1)))
    fade = shader.noise(4, 4)
    ragged = shader.step(shader.blend((bands, 0.7), (fade, 0.9)), 0.6, 1.1, 0, rng.uniform(0.6, 0.95))
    colour = shader.mix(ragged, vary(rng, "ecd9c8", 0.03), vary(rng, "d06a34"))
    return shader.finish(
        colour=colour, roughness=0.35, coat=0.1, normal=shader.bump(shader.blend((bands, 1.0), (fade, 0.6)), 0.5, 0.03)
    )


def omelette(rng: Draw) -> bpy.types.Material:
    """Return rolled omelette, browned in places."""
    shader = Shader(rng.uniform(0, 50))
    tone = shader.noise(4, 5, 0.65)
    colour = shader.mix(shader.step(tone, 0.5, 0.66, 0, 0.6), vary(rng, "dcb040"), vary(rng, "a86f22"))
    return shader.finish(colour=colour, roughness=0.45, normal=shader.bump(shader.noise(9, 5), 0.4, 0.02))


def seaweed(rng: Draw) -> bpy.types.Material:
    """Return nori."""
    shader = Shader(rng.uniform(0, 50))
    tone = shader.noise(14, 6, 0.7)
    colour = shader.ramp(tone, [(0.35, "080c08"), (0.6, "141d12"), (0.8, "2a3a20")])
    return shader.finish(colour=colour, roughness=rng.uniform(0.35, 0.6), normal=shader.bump(tone, 0.6, 0.03))


def roe(rng: Draw, large: bool) -> bpy.types.Material:
    """Return salmon roe or small flying fish roe."""
    colour = vary(rng, rng.pick(["d0481a", "d86a20", "1c1a18"]) if not large else "d0481a")
    if large:
        return plain(colour, 0.06, transmission=0.4, ior=1.36, subsurface=0.2, subsurface_scale=0.05)
    return plain(colour, 0.18, coat=0.3)


def filling(rng: Draw, kind: str) -> bpy.types.Material:
    """Return a filling: mottled, fibrous, cut clean."""
    shader = Shader(rng.uniform(0, 50))
    threads = shader.noise(16, 6, 0.7, 0.4, shader.stretched((1, 2.5, 1), rng.uniform(0, 3)))
    clouds = shader.noise(6, 4)
    base = FILLINGS[kind]
    colour = shader.mix(shader.step(clouds, 0.38, 0.62), vary(rng, base, 0.1), vary(rng, base, 0.28))
    if kind in ("crab", "fried_prawn"):
        colour = shader.mix(shader.step(threads, 0.48, 0.58), colour, "ecdcc8")
    else:
        colour = shader.mix(shader.step(threads, 0.52, 0.68, 0, 0.4), colour, "f0e6d6")
    return shader.finish(
        colour=colour, roughness=0.4, normal=shader.bump(shader.blend((threads, 1.0), (clouds, 0.5)), 0.8, 0.03)
    )


NIGIRI: dict[str, Callable[[Draw], bpy.types.Material]] = {
    **{kind: partial(fish, kind=kind) for kind in TONES},
    "seared_salmon": partial(fish, kind="salmon", seared=True), "seared_tuna": partial(fish, kind="tuna", seared=True),
    "seared_beef": partial(fish, kind="beef", seared=True), "prawn": prawn, "omelette": omelette,
}  # fmt: skip
