"""Materials of tables, dishes and props."""

import bpy

from tools.render_sample.draw import Draw
from tools.render_sample.shading import Colour, Shader, plain, vary

WOODS = [("c89a62", "8a5a2e"), ("a06a3a", "5d3519"), ("6b4526", "2f1b0e"), ("dcb98a", "b58a56"),
         ("8d8378", "5a5148"), ("3d2a1f", "1c120c")]  # light and dark of the grain  # fmt: skip
GLAZES = ["f1efe9", "e9e4d8", "26282b", "3e4a55", "8a7a68", "5d6b5a", "c9bfae", "2c4a6b", "9a6a58", "d7b98a"]
CLOTHS = [("b33a2c", "f0ece2"), ("2f5d8c", "efefec"), ("d8d2c4", "c9c2b0"), ("3c6e47", "f0ece2"),
          ("40444d", "83868d"), ("e9e6de", "dedad0"), ("6e2430", "6a2130")]  # stripe and ground  # fmt: skip
PAINTS = ["dedad2", "cdbb9f", "2b2d31", "6d8a8f", "a8503e", "8f9c7a", "e6e4df", "394a5c", "5a4636", "1c1d20"]
STONES = ["3a3b3e", "77736d", "26282c", "a39c92", "4b5157", "8c6f5c"]


def _grain(rng: Draw, shader: Shader, fineness: float) -> tuple[bpy.types.NodeSocket, bpy.types.NodeSocket]:
    """Return colour and height of wood grain that runs along x."""
    light, dark = rng.pick(WOODS)
    vector = shader.stretched((0.6 * fineness, 7 * fineness, 3 * fineness))
    rings = shader.noise(1.3, 6, 0.6, 1.2, vector)
    fibres = shader.noise(9, 5, 0.7, 0.3, vector)
    colour = shader.ramp(rings, [(0.3, vary(rng, dark)), (0.5, vary(rng, light)), (0.72, vary(rng, light, 0.15))])
    colour = shader.mix(shader.step(fibres, 0.4, 0.75, 0, 0.45), colour, dark)
    stains = shader.noise(0.9, 4, 0.6)
    colour = shader.mix(shader.step(stains, 0.52, 0.66, 0, rng.uniform(0, 0.5)), colour, dark)
    return colour, shader.blend((rings, 1.0), (fibres, 0.5))


def wood(rng: Draw, fineness: float = 1.0) -> bpy.types.Material:
    """Return wood with its grain along x."""
    shader = Shader(rng.uniform(0, 50))
    colour, height = _grain(rng, shader, fineness)
    return shader.finish(colour=colour, roughness=rng.uniform(0.35, 0.65), normal=shader.bump(height, 0.25, 0.02))


def planks(rng: Draw) -> bpy.types.Material:
    """Return a table of planks with dark gaps, each plank of its own shade."""
    shader = Shader(rng.uniform(0, 50))
    colour, height = _grain(rng, shader, rng.uniform(0.5, 0.9))
    width = rng.uniform(0.6, 1.3)
    across = shader.math("ADD", shader.axes()[1], 50.3)
    gap = shader.step(shader.math("PINGPONG", across, width / 2), 0, 0.02, 1, 0)
    index = shader.math("FLOOR", shader.math("DIVIDE", across, width))
    shade = shader.math(
        "FRACT", shader.math("MULTIPLY", shader.math("SINE", shader.math("MULTIPLY", index, 12.9898)), 437.5)
    )
    colour = shader.mix(shader.math("MULTIPLY", shade, 0.5), colour, "1d120a", "MULTIPLY")
    colour = shader.mix(gap, colour, "0d0805")
    bump = shader.bump(shader.blend((height, 1.0), (gap, -3.0)), 0.3, 0.02)
    return shader.finish(colour=colour, roughness=rng.uniform(0.3, 0.7), normal=bump)


def marble(rng: Draw) -> bpy.types.Material:
    """Return light or dark polished marble."""
    shader = Shader(rng.uniform(0, 50))
    vein = shader.math("ABSOLUTE", shader.blend((shader.noise(rng.uniform(0.6, 1.2), 8, 0.6, 1.5), 1.0), (0.5, -1.0)))
    light = [(0.0, "9a9a9e"), (0.05, "cfcfd1"), (0.25, "e2e1df")]
    dark = [(0.0, "bdb7aa"), (0.05, "33343a"), (0.25, "17181b")]
    return shader.finish(colour=shader.ramp(vein, light if rng.chance(0.6) else dark), roughness=rng.uniform(0.1, 0.35))


def stone(rng: Draw) -> bpy.types.Material:
    """Return speckled stone or terrazzo."""
    shader = Shader(rng.uniform(0, 50))
    clouds, specks = shader.noise(2, 8, 0.65), shader.noise(30, 3, 0.6)
    colour = shader.mix(
        shader.step(clouds, 0.3, 0.7, 0, 0.6), vary(rng, rng.pick(STONES)), rng.pick(["141416", "b5aea4"])
    )
    colour = shader.mix(shader.step(specks, 0.5, 0.8, 0, 0.35), colour, "c8c4bc")
    bump = shader.bump(shader.blend((clouds, 1.0), (specks, 0.3)), 0.3, 0.03)
    return shader.finish(colour=colour, roughness=rng.uniform(0.4, 0.8), normal=bump)


def cloth(rng: Draw) -> bpy.types.Material:
    """Return checked, striped or plain woven cloth with soft folds."""
    shader = Shader(rng.uniform(0, 50))
    stripe, ground = rng.pick(CLOTHS)
    period = 1 / rng.uniform(0.4, 1.4)
    bands = [
        shader.math("GREATER_THAN", shader.math("FRACT", shader.math("MULTIPLY_ADD", axis, period, 40.0)), 0.5)
        for axis in shader.axes()[:2]
    ]
    pattern = shader.blend((bands[0], 0.5), (bands[1], rng.pick([0.0, 0.5, 0.5])))
    weave = shader.math("ADD", shader.waves(22, 0.5), shader.noise(60, 2))
    folds = shader.noise(rng.uniform(0.5, 1.1), 3, 0.5)
    colour = shader.mix(pattern, vary(rng, ground, 0.03), vary(rng, stripe))
    colour = shader.mix(shader.step(shader.noise(1.5, 5), 0.55, 0.7, 0, 0.15), colour, "5a4a3a")
    return shader.finish(
        colour=colour,
        roughness=0.9,
        sheen=0.2,
        normal=shader.bump(shader.blend((weave, 0.12), (folds, 2.0)), 0.5, 0.05),
    )


def laminate(rng: Draw) -> bpy.types.Material:
    """Return a painted or laminated table top with smears and crumbs of wear."""
    shader = Shader(rng.uniform(0, 50))
    base = vary(rng, rng.pick(PAINTS), 0.1)
    wear = shader.noise(rng.uniform(0.8, 2), 7, 0.7, 0.4)
    colour = shader.mix(
        shader.step(wear, 0.5, 0.68, 0, rng.uniform(0.05, 0.35)), base, rng.pick(["6b6258", "b7ada0", "2a2622"])
    )
    roughness = shader.step(wear, 0.4, 0.6, rng.uniform(0.12, 0.4), rng.uniform(0.4, 0.75))
    return shader.finish(colour=colour, roughness=roughness, normal=shader.bump(shader.noise(12, 5), 0.08, 0.02))


def tiles(rng: Draw) -> bpy.types.Material:
    """Return glazed or terracotta tiles with joints."""
    shader = Shader(rng.uniform(0, 50))
    size = rng.uniform(0.9, 1.8)
    joints = [
        shader.step(shader.math("PINGPONG", shader.math("ADD", axis, 50.0), size / 2), 0.015, 0.04, 1, 0)
        for axis in shader.axes()[:2]
    ]
    joint = shader.math("MAXIMUM", *joints)
    base = vary(rng, rng.pick(["b5673f", "d9d4c8", "4d6a70", "7c3b2a", "c3b59b"]), 0.1)
    colour = shader.mix(shader.step(shader.noise(2, 6), 0.4, 0.65, 0, 0.4), base, "6e5746", "MULTIPLY")
    colour = shader.mix(joint, colour, "8d857a")
    bump = shader.bump(shader.blend((joint, -1.0), (shader.noise(3, 4), 0.4)), 0.4, 0.03)
    return shader.finish(colour=colour, roughness=rng.uniform(0.2, 0.6), normal=bump)


def ceramic(rng: Draw, glaze: str | None = None) -> bpy.types.Material:
    """Return glazed ceramic, white in half of the cases, else coloured and speckled."""
    shader = Shader(rng.uniform(0, 50))
    if glaze is None:
        glaze = "eeece6" if rng.chance(0.5) else rng.pick(GLAZES)
    base = vary(rng, glaze, 0.06)
    speck = "2a211a" if sum(base[:3]) > 0.6 else "b5ab9c"
    colour = shader.mix(shader.step(shader.noise(40, 2, 0.5), 0.62, 0.7, 0, rng.pick([0.0, 0.0, 0.6])), base, speck)
    bump = shader.bump(shader.noise(6, 3), 0.05, 0.02)
    return shader.finish(colour=colour, roughness=rng.uniform(0.06, 0.4), coat=0.3, normal=bump)


def rough_dark(rng: Draw, light: str, dark: str, metallic: float = 0.0) -> bpy.types.Material:
    """Return slate, cast iron and their like."""
    shader = Shader(rng.uniform(0, 50))
    clouds = shader.noise(2.5, 9, 0.7)
    colour = shader.ramp(clouds, [(0.3, dark), (0.7, light)])
    return shader.finish(
        colour=colour, roughness=rng.uniform(0.4, 0.65), metallic=metallic, normal=shader.bump(clouds, 0.5, 0.05)
    )


def slate(rng: Draw) -> bpy.types.Material:
    """Return dark slate."""
    return rough_dark(rng, "3d4045", "191b1e")


def cast_iron(rng: Draw) -> bpy.types.Material:
    """Return seasoned cast iron."""
    return rough_dark(rng, "1d1c1b", "0d0d0d", 0.4)


def steel(rng: Draw) -> bpy.types.Material:
    """Return brushed or scratched steel."""
    shader = Shader(rng.uniform(0, 50))
    scratches = shader.noise(8, 6, 0.7, 0.2, shader.stretched((1, 12, 1)))
    roughness = shader.step(scratches, 0.35, 0.65, 0.18, 0.42)
    return shader.finish(colour=vary(rng, "b4b4b6", 0.05), metallic=1.0, roughness=roughness)


def glass(rng: Draw) -> bpy.types.Material:
    """Return clear glass."""
    return plain(rng.pick(["f4f7f6", "f4f7f6", "cfe3d4"]), 0.03, transmission=1.0, ior=1.3)


def paper(rng: Draw, tone: str) -> bpy.types.Material:
    """Return paper or cardboard with creases and spots of grease."""
    shader = Shader(rng.uniform(0, 50))
    creases, grease = shader.noise(3, 6, 0.65, 0.6), shader.noise(1.6, 4)
    colour = shader.mix(
        shader.step(grease, 0.54, 0.64, 0, rng.uniform(0, 0.5)), vary(rng, tone, 0.05), "9a7a4c", "MULTIPLY"
    )
    return shader.finish(colour=colour, roughness=0.8, normal=shader.bump(creases, 0.35, 0.05))


def checked_paper(rng: Draw) -> bpy.types.Material:
    """Return the checked sheet that lines baskets and trays."""
    shader = Shader(rng.uniform(0, 50))
    ink = vary(rng, rng.pick(["b3261e", "2a4f86", "2f6b3a", "3a3a3a"]))
    bands = [
        shader.math("GREATER_THAN", shader.math("FRACT", shader.math("MULTIPLY_ADD", axis, 3.4, 40.0)), 0.5)
        for axis in shader.axes()[:2]
    ]
    colour = shader.mix(shader.blend((bands[0], 0.45), (bands[1], 0.45)), "eee9dd", ink)
    return shader.finish(colour=colour, roughness=0.75, normal=shader.bump(shader.noise(2.5, 6, 0.6, 0.6), 0.4, 0.06))


def lacquer(rng: Draw) -> bpy.types.Material:
    """Return red or black lacquer."""
    return plain(vary(rng, rng.pick(["1a1413", "1a1413", "7c140f"])), 0.14, coat=0.6)


def leaf(rng: Draw, tints: tuple[str, str] = ("3f6f2c", "1f3f14")) -> bpy.types.Material:
    """Return a leaf: veined, matte, lighter along the rib; needs the mask `rib`."""
    shader = Shader(rng.uniform(0, 50))
    rib, clouds = shader.mask("rib"), shader.noise(5, 5, 0.6)
    colour = shader.ramp(
        clouds, [(0.34, vary(rng, tints[1], 0.12)), (0.5, vary(rng, tints[0], 0.12)), (0.66, vary(rng, "6c8440", 0.12))]
    )
    colour = shader.mix(shader.step(rib, 0.02, 0.12, 0.55, 0), colour, "9db06a")
    veins = shader.math("SINE", shader.blend((rib, 26.0), (shader.axes()[0], 60.0)))
    bump = shader.bump(shader.blend((veins, 0.08), (clouds, 1.0)), 0.5, 0.02)
    return shader.finish(colour=colour, roughness=0.55, specular=0.35, normal=bump)


def liquid(colour: Colour | str, clouds: str | None = None) -> bpy.types.Material:
    """Return a glossy sauce, with clouds of a second colour if one is given."""
    shader = Shader(3.0)
    second = shader.mix(shader.step(shader.noise(5, 4, 0.6, 0.8), 0.45, 0.6), colour, clouds) if clouds else colour
    return shader.finish(
        colour=second, roughness=0.09, specular=0.6, coat=0.5, normal=shader.bump(shader.noise(7, 3), 0.08, 0.03)
    )


TABLES = {
    "planks": planks, "wood": lambda rng: wood(rng, rng.uniform(0.4, 0.9)), "marble": marble, "stone": stone,
    "cloth": cloth, "laminate": laminate, "tiles": tiles,
}  # fmt: skip
