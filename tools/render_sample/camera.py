"""The camera, and the rule that rejects a bad frame before it is rendered."""

import math

import bpy
import numpy as np
from mathutils import Vector

from tools.render_sample.draw import Draw
from tools.render_sample.geometry import Group
from tools.render_sample.scene import Scene

ELEVATIONS = {"overhead": (66, 86), "three_quarter": (34, 62), "low": (24, 34)}  # degrees
REACHES = {"close": (0.55, 0.72), "middle": (0.75, 1.0), "wide": (1.1, 1.45)}  # half the frame, in radii of the food
SENSOR = 36.0
PROBES = 24  # rays a side
MIN_SHARE = {"close": 0.3, "middle": 0.2, "wide": 0.1}  # of the frame, that the food must fill
MAX_SHARE = 0.96


def place_camera(rng: Draw, scene: Scene, middle: Vector, radius: float) -> None:
    """Point a camera at the food, as a hand would: off centre and not quite level."""
    data = bpy.data.cameras.new("camera")
    item = bpy.data.objects.new("camera", data)
    bpy.context.scene.collection.objects.link(item)
    bpy.context.scene.camera = item
    data.lens, data.sensor_width = rng.uniform(30, 60), SENSOR

    elevation = math.radians(rng.uniform(*ELEVATIONS[scene.view]))
    reach = radius * rng.uniform(*REACHES[scene.framing])
    distance = reach / math.tan(math.atan(SENSOR / 2 / data.lens))
    target = middle + Vector((rng.normal(0.12), rng.normal(0.12), 0)) * radius + Vector((0, 0, 0.1))
    azimuth = -math.pi / 2 + rng.normal(0.25)
    away = Vector(
        (math.cos(azimuth) * math.cos(elevation), math.sin(azimuth) * math.cos(elevation), math.sin(elevation))
    )
    item.location = target + away * distance
    item.rotation_euler = (-away).to_track_quat("-Z", "Y").to_euler()
    item.rotation_euler.rotate_axis("Z", rng.normal(0.09))

    data.dof.use_dof = True
    data.dof.focus_distance = distance - (0.3 + rng.normal(0.1)) * radius * math.cos(elevation)
    opening = reach * rng.pick([0.006, 0.012, 0.025, 0.05])  # diameter: phones at the small end
    data.dof.aperture_fstop = data.lens / 1000 / opening


def food_share(food: Group) -> float:
    """Return the share of the frame in which the camera sees the food."""
    view = bpy.context.scene.camera
    graph = bpy.context.evaluated_depsgraph_get()
    half = SENSOR / 2 / view.data.lens
    names = {item.name for item in food.objects}
    rotation = view.matrix_world.to_3x3()
    steps = (np.arange(PROBES) + 0.5) / PROBES * 2 - 1
    hits = 0
    for x in steps:
        for y in steps:
            ray = rotation @ Vector((x * half, y * half, -1.0))
            found, _, _, _, item, _ = bpy.context.scene.ray_cast(graph, view.location, ray.normalized())
            hits += found and item.name in names
    return hits / PROBES**2


def frame_is_good(scene: Scene, food: Group) -> bool:
    """Return whether the food fills neither too little of the frame nor all of it."""
    return MIN_SHARE[scene.framing] <= food_share(food) <= MAX_SHARE
