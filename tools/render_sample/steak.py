"""Steak: a slab of meat with a noisy outline, whole, cut or in pieces."""

import math
from dataclasses import dataclass

import bpy
import numpy as np

from tools.render_sample import bites, steak_materials
from tools.render_sample.draw import Draw
from tools.render_sample.geometry import (
    Group,
    Part,
    blob,
    box,
    circle,
    copies,
    frames_along,
    grid_faces,
    points,
    signed_power,
    superellipsoid,
    tube,
    unit_vectors,
)  # fmt: skip
from tools.render_sample.noise import fbm, smoothstep
from tools.render_sample.shading import plain, vary

CUTS = {  # length, width and thickness (half sizes, in radii of the food), share of the edge that is fat
    "ribeye": ((0.8, 0.95), (0.6, 0.72), (0.1, 0.15), 0.3), "strip": ((0.85, 1.0), (0.4, 0.5), (0.11, 0.16), 0.35),
    "filet": ((0.5, 0.66), (0.46, 0.6), (0.14, 0.2), 0.0), "bone_in": ((0.7, 0.85), (0.55, 0.7), (0.1, 0.15), 0.25),
    "flank": ((0.9, 1.05), (0.4, 0.52), (0.07, 0.1), 0.0),
}  # fmt: skip
SERVINGS = {"whole": 16, "sliced": 5, "half_cut": 6, "sauced": 5, "tartare": 1}  # weights
RIM = 0.93  # where the top bends into the side


@dataclass
class Slab:
    """The shape of one cut of meat, before the knife."""

    rng: Draw
    length: float
    width: float
    thickness: float  # half of it
    fat: float

    def __post_init__(self) -> None:
        self.shift = self.rng.uniform(0, 90)
        self.squareness = self.rng.uniform(0.7, 0.95)
        self.lumpiness = self.rng.uniform(0.12, 0.24)
        self.fat_angle = self.rng.uniform(0, 2 * math.pi)

    def outline(self, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y of the edge."""
        lumps = 1 + self.lumpiness * fbm(np.cos(angle) * 1.2 + self.shift, np.sin(angle) * 1.2, 0, 4)
        x = signed_power(np.cos(angle), self.squareness) * self.length * lumps
        return x, signed_power(np.sin(angle), self.squareness) * self.width * lumps

    def relief(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return bumps of the surface."""
        coarse = 0.3 * fbm(x * 2.4 + self.shift, y * 2.4, 1, 4)
        return self.thickness * (coarse + 0.1 * fbm(x * 9, y * 9 + self.shift, 2, 3))

    def top(self, reach: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return points of the upper side, `reach` from 0 in the middle to 1."""
        x, y = (reach * axis for axis in self.outline(angle))
        return x, y, self.thickness * 2 + self.relief(x, y) - 0.04 * reach**4

    def whole(self) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Return the mesh of the whole slab and its masks `fat` and `side`."""
        bend = np.linspace(0, math.pi, 26)[1:-1]
        reach = np.concatenate(
            [np.linspace(0.003, RIM, 60), RIM + (1 - RIM) * np.sin(bend) ** 0.7, np.linspace(RIM, 0.003, 10)]
        )
        level = np.concatenate([np.ones(60), signed_power(np.cos(bend), 0.6), -np.ones(10)])
        reach, level, angle = reach[:, None], level[:, None], circle(240)
        x, y, top = self.top(reach, angle)
        push = 1 + 0.03 * fbm(x * 3.5 + self.shift, y * 3.5, level * 0.5, 4) * (reach > 0.5)
        z = top * (level + 1) / 2 + 0.02
        apart = np.abs((angle - self.fat_angle + math.pi) % (2 * math.pi) - math.pi) / math.pi
        fat = smoothstep(self.fat + 0.05, self.fat - 0.1, apart) * smoothstep(0.84, RIM, reach) if self.fat else 0 * z
        masks = {
            "fat": np.broadcast_to(fat, z.shape).ravel(),
            "side": np.broadcast_to(1 - np.abs(level), z.shape).ravel(),
        }
        return points(x * push, y * push, z), grid_faces(*z.shape, wrap_columns=True), masks

    def slice(self, start: float, end: float, crust: bpy.types.Material, meat: bpy.types.Material) -> list[Part]:
        """Return the part of the slab between two values of x, its middle at the origin."""
        around, steps = circle(72), max(4, int((end - start) / 0.03))
        xs = np.linspace(start, end, steps)[:, None]
        angle = np.linspace(0.01, math.pi - 0.01, 300)
        sides = [np.interp(xs, *(axis[::-1] for axis in self.outline(sign * angle))) for sign in (-1, 1)]
        middle, half = (sides[0] + sides[1]) / 2, np.maximum(0.06, (sides[1] - sides[0]) / 2)
        y = middle + half * signed_power(np.cos(around), 0.55)
        z = self.thickness * signed_power(np.sin(around), 0.55) * np.minimum(1, 0.7 + half / self.width)
        z = z + np.where(np.sin(around) > -0.3, self.relief(xs + 0 * y, y), 0)
        y = y + 0.03 * self.width * fbm(xs * 3 + self.shift, y * 3, z * 4, 4)
        shell = points(xs - (start + end) / 2, y, z)
        edge = np.broadcast_to(np.cos(around), z.shape)
        masks = {
            "fat": smoothstep(0.8, 0.97, edge).ravel() * (self.fat > 0),
            "side": smoothstep(0.5, 0.9, np.abs(edge)).ravel() * 0.8,
        }
        parts = [Part((shell, grid_faces(steps, 72, wrap_columns=True)[:, ::-1]), crust, masks)]
        rings = shell.reshape(steps, 72, 3)
        return parts + [self._cut_face(rings[index], meat, start + index) for index in (0, -1)]

    def _cut_face(self, ring: np.ndarray, meat: bpy.types.Material, seed: float) -> Part:
        """Return the face that the knife leaves, with its mask `depth`."""
        reach = np.linspace(1, 0.02, 18)
        face = ring.mean(0) + (ring - ring.mean(0)) * reach[:, None, None]
        face[..., 0] += (
            0.015 * fbm(face[..., 1] * 6 + self.shift, face[..., 2] * 6, seed, 3) * (1 - reach[:, None] ** 8)
        )
        below = 1 - np.abs(face[..., 2]) / (self.thickness * 1.05)
        inside = np.minimum(below, (1 - reach[:, None]) * 2.5)
        depth = np.clip(1 - inside, 0, 1).ravel()
        return Part((face.reshape(-1, 3), grid_faces(18, 72, wrap_columns=True)), meat, {"depth": depth})


def _whole(rng: Draw, slab: Slab, crust: bpy.types.Material, group: Group) -> None:
    """Add the slab in one piece."""
    vertices, faces, masks = slab.whole()
    group.add(Part((vertices, faces), crust, masks))


def _bone(rng: Draw, slab: Slab, group: Group) -> None:
    """Add the bone that sticks out of a bone-in cut."""
    t = np.linspace(0, 1, 30)
    bend, reach = rng.uniform(-0.25, 0.25), rng.uniform(0.55, 0.9)
    path = np.stack([slab.length * (0.7 + t * reach), bend * t**2, slab.thickness + 0 * t], 1)
    group.add(Part(tube(path, 0.07 + 0.14 * np.abs(t - 0.45) ** 1.6, 14), steak_materials.bone_material(rng)))


def _slices(
    rng: Draw, slab: Slab, crust: bpy.types.Material, meat: bpy.types.Material, group: Group, radius: float, keep: float
) -> None:
    """Add slices that lean on each other, after an uncut piece of share `keep`."""
    begin, end = -0.92 * slab.length, 0.92 * slab.length
    cursor, place = begin, -0.95 * radius
    if keep:
        cut = begin + (end - begin) * keep
        group.add(slab.slice(begin, cut, crust, meat), (place + (cut - begin) / 2, 0, slab.thickness))
        cursor, place = cut, place + cut - begin + 0.03
    breadth, lean, drift = rng.uniform(0.11, 0.28), rng.uniform(0.35, 1.2), rng.normal(0.12)
    while cursor < end - 0.08 and place < 0.9 * radius:
        width = min(breadth * rng.uniform(0.75, 1.25), end - cursor)
        tilt = lean * rng.uniform(0.8, 1.15)
        step = max(width / math.cos(tilt) * 0.8, 2 * slab.thickness * math.sin(tilt) * 0.55 + width * 0.5)
        height = slab.thickness * math.cos(tilt) + width / 2 * math.sin(tilt)
        where = (place + step / 2, drift * place + rng.normal(0.02), height)
        group.add(slab.slice(cursor, cursor + width, crust, meat), where, (0, -tilt, rng.normal(0.06)))
        place, cursor = place + step, cursor + width


def _tartare(rng: Draw, group: Group, radius: float) -> None:
    """Add a patty of chopped raw beef with a yolk."""
    count, r, height = 1500, radius * rng.uniform(0.42, 0.6), rng.uniform(0.2, 0.34)
    reach, angle = np.sqrt(rng.arrays.uniform(0, 1, count)), rng.arrays.uniform(0, 2 * math.pi, count)
    reach[: count // 2] = 1.0  # half of it on the side wall
    level = np.where(reach < 1, height, rng.arrays.uniform(0.02, height, count)) + rng.arrays.normal(0, 0.012, count)
    wobble = r * (1 + 0.06 * fbm(np.cos(angle) * 2, np.sin(angle) * 2))
    places = np.stack([wobble * reach * np.cos(angle), wobble * reach * np.sin(angle), level], 1)
    frames = frames_along(unit_vectors(count, rng.arrays), rng.arrays)
    sizes = np.array([0.06, 0.035, 0.028]) * rng.arrays.uniform(0.6, 1.2, (count, 3))
    bits = copies(superellipsoid((1, 1, 1), 0.9, 0.9, 8, 9), places, frames, sizes)
    raw = steak_materials.meat_material(rng, "raw")
    core = superellipsoid((0.97 * r, 0.97 * r, height), 0.3, 1.0)
    group.add([Part(bits, raw, {"depth": np.repeat(rng.arrays.uniform(0, 0.75, count), 72)}), Part(core, raw)])
    if rng.chance(0.6):
        yolk = plain(vary(rng, "d98a14"), 0.12, coat=0.4)
        group.add(Part(blob((0.2, 0.2, 0.13), 0.02, 1.0, 0.0, 1.0), yolk), (0, 0, height + 0.08))


def _cover(rng: Draw, slab: Slab, group: Group) -> None:
    """Pour a thick sauce over the slab."""
    reach, angle = np.linspace(0.003, 1.12, 70)[:, None], circle(160)
    x, y, z = slab.top(np.minimum(reach, 1.0), angle)
    x, y = x * np.maximum(reach, 1), y * np.maximum(reach, 1)
    edge = 0.8 + 0.3 * fbm(np.cos(angle) * 1.5 + slab.shift, np.sin(angle) * 1.5, 4, 3)
    inside = smoothstep(edge, edge - 0.12, reach)
    drop = smoothstep(0.92, 1.05, reach) * slab.thickness * 1.3
    z = z - drop + 0.075 * inside - 0.06 * (1 - inside)
    group.add(Part((points(x, y, z), grid_faces(70, 160, wrap_columns=True)), steak_materials.sauce_material(rng)))


def _finish(rng: Draw, slab: Slab, serving: str, group: Group, radius: float) -> None:
    """Add a pool of juice or sauce under it, and butter on it."""
    if rng.chance(0.35):
        juice = plain(vary(rng, rng.pick(["30120a", "24100a", "46280f"])), 0.08, coat=0.4)
        group.add(Part(bites.puddle(rng, radius * rng.uniform(0.5, 0.8), 0.01), juice))
    if serving == "whole" and rng.chance(0.2):
        x, y = rng.normal(0.1) * slab.length, rng.normal(0.1) * slab.width
        height = 2 * slab.thickness + float(slab.relief(np.array(x), np.array(y)))
        butter = steak_materials.butter_material(rng)
        group.add(Part(box((0.24, 0.22, 0.09)), butter), (x, y, height), (0.06, 0.05, rng.uniform(0, 3)))
        group.add(
            Part(bites.puddle(rng, 0.24, 0.03), plain("c89a3a", 0.06, coat=0.5, transmission=0.3)),
            (x, y, height - 0.005),
        )


def build(rng: Draw, group: Group, radius: float) -> str:
    """Add a steak that fits a disc; return its sub-type."""
    serving = rng.weighted(SERVINGS)
    if serving == "tartare":
        _tartare(rng, group, radius)
        return serving
    cut = rng.pick(list(CUTS))
    lengths, widths, depths, fat = CUTS[cut]
    slab = Slab(rng.child("slab"), *(radius * rng.uniform(*span) for span in (lengths, widths, depths)), fat)
    doneness = rng.pick(["rare", "rare", "medium", "medium", "medium", "well"])
    sear = steak_materials.Sear(rng.uniform(0.1, 1), rng.pick([0, 0, 0, 1, 1, 2]), rng.uniform(0, 0.8))
    crust = steak_materials.crust_material(rng.child("crust"), sear)
    meat = steak_materials.meat_material(rng.child("meat"), doneness)
    if serving in ("whole", "sauced"):
        _whole(rng, slab, crust, group)
        if cut == "bone_in":
            _bone(rng, slab, group)
        if serving == "sauced":
            _cover(rng.child("sauce"), slab, group)
    else:
        _slices(rng, slab, crust, meat, group, radius, rng.uniform(0.35, 0.65) if serving == "half_cut" else 0)
    _finish(rng.child("finish"), slab, serving, group, radius)
    return f"{cut} {serving} {doneness}"
