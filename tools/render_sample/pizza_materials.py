"""Dough, sauce and cheese in one shader, steered by the masks that the mesh carries."""

from dataclasses import dataclass

import bpy

from tools.render_sample.draw import Draw
from tools.render_sample.shading import Shader, vary

SAUCES = {"tomato": ("7c2008", "ac3c12"), "cream": ("e0d2b0", "cfb98a"), "pesto": ("5f6a2a", "39491c"),
          "barbecue": ("4a1c0c", "6e3014")}  # two shades of each  # fmt: skip
CHEESES = {"yellow": ("ecc670", "dba544", "b8701e"), "white": ("f0e4c4", "e4cc94", "c49048"),
           "orange": ("e6a545", "cf7a22", "9a4a12")}  # pale, middle, browned  # fmt: skip


@dataclass(frozen=True)
class BasePlan:
    """What lies under the toppings; `cover` is the range of the cheese's threshold (low: all covered)."""

    sauce: str
    cheeses: tuple[str, ...]
    cover: tuple[float, float]


def _cheese(rng: Draw, shader: Shader, plan: BasePlan, bake: float, noises: list) -> bpy.types.NodeSocket:
    """Return the colour of melted cheese with pools of oil and browned bubbles."""
    broad, middle, fine = noises
    pale, gold, brown = CHEESES[rng.pick(plan.cheeses)]
    colour = shader.ramp(
        middle, [(0.36, vary(rng, pale, 0.05)), (0.5, vary(rng, gold, 0.06)), (0.66, vary(rng, brown, 0.08))]
    )
    colour = shader.mix(shader.step(broad, 0.46, 0.64, 0, rng.uniform(0, 0.6)), colour, vary(rng, "c4601a"))
    spots = shader.step(shader.blend((middle, 0.6), (fine, 0.4)), 0.57 - 0.09 * bake, 0.65 - 0.07 * bake)
    colour = shader.mix(shader.math("MULTIPLY", spots, 0.35 + 0.5 * bake), colour, vary(rng, "86420f"))
    burnt = shader.step(fine, 0.54 - 0.03 * bake, 0.64, 0, 0.95 * bake)
    return shader.mix(shader.math("MULTIPLY", burnt, spots), colour, "3f1a08")


def _crust(rng: Draw, shader: Shader, bake: float, noises: list) -> bpy.types.NodeSocket:
    """Return the colour of the rim: pale to charred, floury in places."""
    broad, middle, fine = noises
    tones = [(0.36, "e2bb7a"), (0.46, "c68a40"), (0.55, "9a5820"), (0.66, "5c2e10")]
    lift = 0.1 * (0.5 - bake)
    blend = shader.blend((broad, 0.55), (middle, 0.45))
    colour = shader.ramp(blend, [(position + lift, vary(rng, tone)) for position, tone in tones])
    rim = shader.step(shader.mask("crust"), 0.15, 0.6)
    char = shader.step(shader.math("MULTIPLY", middle, rim), 0.48 - 0.1 * bake, 0.57, 0, 0.2 + 0.8 * bake)
    colour = shader.mix(char, colour, vary(rng, "2a1207"))
    return shader.mix(shader.step(fine, 0.56, 0.72, 0, rng.uniform(0, 0.5)), colour, "eee0c8")


def base_material(rng: Draw, plan: BasePlan, bake: float) -> bpy.types.Material:
    """Return the top of the pizza; needs the masks `cheese`, `sauce` and `crust`."""
    shader = Shader(rng.uniform(0, 50))
    noises = [shader.noise(2.2, 5, 0.6), shader.noise(6.5, 5, 0.6, 0.4), shader.noise(15, 4, 0.6)]
    broad, middle, fine = noises
    ragged = shader.math("SUBTRACT", fine, 0.5)
    first, second = SAUCES[plan.sauce]
    sauce = shader.mix(middle, vary(rng, first), vary(rng, second))
    sauce = shader.mix(shader.step(fine, 0.48, 0.62, 0, 0.5), sauce, vary(rng, first, 0.2))
    cheese = _cheese(rng, shader, plan, bake, noises)
    top = shader.mix(shader.step(shader.blend((shader.mask("cheese"), 1.0), (ragged, 0.5)), 0.3, 0.6), sauce, cheese)
    herbs = shader.math(
        "MULTIPLY",
        shader.step(shader.cells(22), 0.1, 0.07),
        shader.step(shader.noise(5, 2), 0.5, 0.6, 0, rng.uniform(0, 0.8)),
    )
    top = shader.mix(herbs, top, "2e3d12")
    edge = shader.step(shader.blend((shader.mask("sauce"), 1.0), (ragged, 0.7)), 0.35, 0.65)
    colour = shader.mix(edge, _crust(rng, shader, bake, noises), top)
    wet = shader.step(broad, 0.35, 0.65, 0.45, 0.2)
    roughness = shader.blend(
        (shader.math("MULTIPLY", shader.mask("sauce"), wet), 1.0),
        (shader.math("SUBTRACT", 1.0, shader.mask("sauce")), 0.75),
    )
    height = shader.blend((middle, 0.8), (fine, 0.6), (shader.noise(45, 3, 0.6), 0.25))
    return shader.finish(colour=colour, roughness=roughness, coat=0.12, normal=shader.bump(height, 0.65, 0.035))


def crumb_material(rng: Draw) -> bpy.types.Material:
    """Return cut dough."""
    shader = Shader(rng.uniform(0, 50))
    pores = shader.noise(14, 4)
    colour = shader.ramp(pores, [(0.3, vary(rng, "b9823f")), (0.6, vary(rng, "e6cb98"))])
    colour = shader.mix(shader.math("MULTIPLY", shader.mask("cheese"), 0.4), colour, vary(rng, "d8a050"))
    return shader.finish(colour=colour, roughness=0.8, normal=shader.bump(pores, 0.8, 0.04))
