"""Build one picture: its scene, its food, the light on it and the photo of it."""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

from tools.render_sample import accents, camera, light, photo, pizza, props, room, sides, steak, sushi, tableware
from tools.render_sample.draw import Draw
from tools.render_sample.geometry import Group
from tools.render_sample.scene import Scene, draw_scene

FOODS = {"pizza": pizza.build, "steak": steak.build, "sushi": sushi.build}
SIZE = 256
SAMPLES = 20
JPEG_QUALITY = (80, 92)
MAX_ATTEMPTS = 8
SIDE_SHRINKS_FOOD = 0.8  # a side dish takes the rest of the plate
ROOMY_SIDE = 0.4  # room of a side dish, in radii of the dish


Spot = tuple[Vector, float]  # the middle of the food and its radius: of the scene, not of the class


@dataclass(frozen=True)
class Picture:
    """A finished picture and what the manifest says of it."""

    pixels: np.ndarray
    scene: Scene
    sub_type: str
    props: list[str]
    attempt: int  # 0 if the first camera was good
    quality: int  # of the JPEG file


def render_picture(
    label: str, seed: int, *, size: int = SIZE, samples: int = SAMPLES, first_attempt: int = 0, with_food: bool = True
) -> Picture:
    """Render the class `label` on the scene of `seed`, trying cameras until the rules accept one.

    Without food it shows the scene of the first attempt asked for, which no rule judges.
    """
    scene = draw_scene(seed)
    for attempt in range(first_attempt, MAX_ATTEMPTS):
        picture = _try(label, scene, attempt, size, samples, with_food)
        if picture:
            return picture
    raise RuntimeError(f"No good frame of {label} {seed} in {MAX_ATTEMPTS} attempts")


def _try(label: str, scene: Scene, attempt: int, size: int, samples: int, with_food: bool) -> Picture | None:
    """Return the picture, or None if a rule rejects its frame."""
    _start(size, samples, scene.seed)
    rng = scene.draw(f"attempt {attempt}")
    room.build_room(scene.draw("room"), scene.table)
    food, spot, surface = _serve(scene)
    own = Draw(f"{label} {scene.seed}/{attempt}")
    sub_type = _cook(own, label, food, spot) if with_food else "nothing"
    prop_names = props.place_props(scene.draw("props"), scene.prop_count, surface.outer_radius)
    _add_neighbour(scene, surface.outer_radius)
    cast = light.BUILDERS[scene.light](scene.draw("light"))
    camera.place_camera(rng.child("camera"), scene, *spot)
    bpy.context.view_layer.update()
    if with_food and not camera.frame_is_good(scene, food):
        return None
    if with_food and scene.accent != "none":
        accents.add_accent(scene.draw("accent"), scene.accent, food, surface.radius)
    pixels = photo.develop(rng.child("photo"), _light(size), cast, scene.brightness)
    if with_food and not photo.exposure_is_good(pixels):
        return None
    return Picture(pixels, scene, sub_type, prop_names, attempt, rng.child("file").integer(*JPEG_QUALITY))


def _start(size: int, samples: int, seed: int) -> None:
    """Empty Blender and set up its path tracer."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device, cycles.samples, cycles.seed = "CPU", samples, seed
    cycles.use_adaptive_sampling, cycles.adaptive_threshold = True, 0.03
    cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
    cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces, cycles.transmission_bounces = 6, 3, 3, 4
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 5
    render = scene.render
    render.resolution_x = render.resolution_y = size
    render.threads_mode, render.threads = "FIXED", 1
    render.image_settings.file_format, render.image_settings.color_depth = "OPEN_EXR", "32"
    scene.view_settings.view_transform = "Raw"


def _serve(scene: Scene) -> tuple[Group, Spot, tableware.Surface]:
    """Put the dish on the table, the side dish on it, and make room for the food beside that."""
    layout = scene.draw("dish")
    dish = Group("dish", turn=layout.normal(0.2))
    surface = tableware.BUILDERS[scene.tableware](layout.child("tableware"), dish)
    food_radius, place = surface.radius, (0.0, 0.0)
    if scene.side != "none":
        angle = layout.uniform(0, 2 * math.pi)
        room_left = ROOMY_SIDE * surface.radius
        x, y = ((surface.radius - 0.8 * room_left) * wave(angle) for wave in (math.cos, math.sin))
        sides.add_side(layout.child("side"), scene.side, dish.parent, x, y, surface.height, room_left)
        food_radius *= SIDE_SHRINKS_FOOD
        off = surface.radius - food_radius
        place = (-off * math.cos(angle), -off * math.sin(angle))
    food = Group("food", (*place, surface.height + 0.004))
    food.parent.parent = dish.parent
    return food, (dish.parent.matrix_basis @ food.parent.location, food_radius), surface


def _cook(rng: Draw, label: str, food: Group, spot: Spot) -> str:
    """Make the food of a class, turned at random, and return its sub-type."""
    food.parent.rotation_euler.z = rng.uniform(0, 2 * math.pi)
    return FOODS[label](rng.child("food"), food, spot[1] * rng.uniform(0.9, 1.03))


def _add_neighbour(scene: Scene, dish_radius: float) -> None:
    """Serve a second dish at the edge of the scene, if the scene has one."""
    if scene.neighbour == "none":
        return
    rng = scene.draw("neighbour")
    angle = rng.uniform(0.1, 0.9) * math.pi
    distance = dish_radius + rng.uniform(1.5, 2.1)
    dish = Group("other dish", (distance * math.cos(angle), distance * math.sin(angle), 0))
    kind = rng.pick(["white_plate", "coloured_plate", "coupe", "wood_board", "slate_board"])
    surface = tableware.BUILDERS[kind](rng.child("tableware"), dish)
    food = Group("other food", (0, 0, surface.height + 0.004), rng.uniform(0, 2 * math.pi))
    food.parent.parent = dish.parent
    FOODS[scene.neighbour](rng.child("food"), food, surface.radius)


def _light(size: int) -> np.ndarray:
    """Render, and return linear light (H, W, 3)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "light.exr"
        bpy.context.scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(str(path))
        image.colorspace_settings.name = "Non-Color"
        pixels = np.empty(size * size * 4, np.float32)
        image.pixels.foreach_get(pixels)
    return pixels.reshape(size, size, 4)[::-1, :, :3].astype(float)  # Blender's rows run upward
