"""Light of a scene: lamps and sky, and the colour cast the camera does not correct."""

import math
from dataclasses import dataclass

import bpy
from mathutils import Vector

from tools.render_sample.draw import Draw

Tint = tuple[float, float, float]


@dataclass(frozen=True)
class Cast:
    """What is left of the light's colour and dimness in the picture."""

    gains: Tint  # of red, green and blue
    grain: float  # strength of sensor noise


def _area(angle: float, height: float, distance: float, size: float, power: float, tint: Tint) -> None:
    """Add a square lamp that faces the dish."""
    lamp = bpy.data.lights.new("area", "AREA")
    lamp.energy, lamp.size, lamp.color = power, size, tint
    item = bpy.data.objects.new("area", lamp)
    place = (
        Vector((math.cos(angle) * math.cos(height), math.sin(angle) * math.cos(height), math.sin(height))) * distance
    )
    item.location, item.rotation_euler = place, (-place).to_track_quat("-Z", "Y").to_euler()
    bpy.context.scene.collection.objects.link(item)


def _sky(tint: Tint, strength: float) -> None:
    """Light the scene evenly from all around."""
    world = bpy.data.worlds.new("world")
    bpy.context.scene.world = world
    background = next(node for node in world.node_tree.nodes if node.bl_idname == "ShaderNodeBackground")
    background.inputs[0].default_value = (*tint, 1)
    background.inputs[1].default_value = strength


def _any_side(rng: Draw) -> float:
    """Return the angle of a light: from behind or beside the dish more often than from the camera."""
    return math.pi / 2 + rng.normal(1.3)


def window(rng: Draw) -> Cast:
    """Light from one window."""
    _sky((0.9, 0.95, 1.0), rng.uniform(0.08, 0.3))
    _area(_any_side(rng), rng.uniform(0.35, 0.9), 6, rng.uniform(2, 4.5), rng.uniform(350, 600), (0.95, 0.98, 1.0))
    return Cast((1 + rng.normal(0.04), 1, 1 + rng.normal(0.06)), rng.uniform(0.0, 0.007))


def overcast(rng: Draw) -> Cast:
    """Soft light from everywhere."""
    _sky((0.95, 0.98, 1.0), rng.uniform(0.6, 1.0))
    _area(_any_side(rng), rng.uniform(0.8, 1.3), 7, 6, rng.uniform(100, 300), (1, 1, 1))
    return Cast((1 + rng.normal(0.04), 1, 1 + rng.normal(0.06)), rng.uniform(0.0, 0.006))


def lamp(rng: Draw) -> Cast:
    """Light from one to three warm restaurant lamps."""
    _sky((1.0, 0.8, 0.6), rng.uniform(0.05, 0.2))
    for _ in range(rng.integer(1, 3)):
        _area(
            rng.uniform(0, 6.3),
            rng.uniform(0.6, 1.4),
            6,
            rng.uniform(0.3, 1.0),
            rng.uniform(150, 450),
            (1.0, 0.82, 0.6),
        )
    return Cast((rng.uniform(0.95, 1.12), 1, rng.uniform(0.7, 1.1)), rng.uniform(0.002, 0.012))


def flash(rng: Draw) -> Cast:
    """Light from the camera's flash in a dim room."""
    _sky((1.0, 0.85, 0.7), rng.uniform(0.03, 0.12))
    _area(-math.pi / 2 + rng.normal(0.15), rng.uniform(0.7, 1.2), 5, 0.25, rng.uniform(250, 400), (1, 1, 1))
    return Cast((1 + rng.normal(0.03), 1, rng.uniform(0.9, 1.1)), rng.uniform(0.002, 0.012))


def sun(rng: Draw) -> Cast:
    """Light from a low or high sun, blue in the shade."""
    _sky((0.6, 0.75, 1.0), rng.uniform(0.25, 0.5))
    _area(rng.uniform(0, 6.3), rng.uniform(0.5, 1.2), 12, 0.6, rng.uniform(1600, 2600), (1.0, 0.93, 0.82))
    return Cast((rng.uniform(0.97, 1.08), 1, rng.uniform(0.88, 1.04)), rng.uniform(0.0, 0.005))


def tubes(rng: Draw) -> Cast:
    """Light from fluorescent tubes overhead, greenish."""
    _sky((0.95, 1.0, 0.9), rng.uniform(0.3, 0.6))
    for _ in range(2):
        _area(
            rng.uniform(0, 6.3),
            rng.uniform(1.0, 1.5),
            6,
            rng.uniform(1.5, 2.5),
            rng.uniform(150, 300),
            (0.95, 1.0, 0.9),
        )
    return Cast((rng.uniform(0.92, 1.04), 1.02, rng.uniform(0.8, 1.02)), rng.uniform(0.002, 0.012))


def candles(rng: Draw) -> Cast:
    """Light from candles: dim, orange, grainy."""
    _sky((1.0, 0.6, 0.3), rng.uniform(0.06, 0.15))
    for _ in range(2):
        _area(rng.uniform(0.3, 2.8), rng.uniform(0.25, 0.6), 3.5, 0.4, rng.uniform(50, 110), (1.0, 0.62, 0.3))
    return Cast((rng.uniform(0.95, 1.08), 1, rng.uniform(0.75, 1.1)), rng.uniform(0.006, 0.014))


def neon(rng: Draw) -> Cast:
    """Light of a bar sign: one coloured lamp and one white."""
    tint = rng.pick([(1.0, 0.45, 0.8), (0.6, 0.55, 1.0), (1.0, 0.5, 0.35), (0.5, 0.9, 1.0)])
    _sky(tint, rng.uniform(0.1, 0.25))
    _area(rng.uniform(0, 6.3), rng.uniform(0.4, 1.0), 6, 2, rng.uniform(150, 260), tint)
    _area(rng.uniform(0, 6.3), rng.uniform(0.7, 1.3), 6, 1.5, rng.uniform(200, 320), (1.0, 0.95, 0.9))
    return Cast((1, 1, 1), rng.uniform(0.005, 0.012))


BUILDERS = {builder.__name__: builder for builder in (window, overcast, lamp, flash, sun, tubes, candles, neon)}
