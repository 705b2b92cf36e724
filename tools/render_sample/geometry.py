"""Meshes as arrays: parts, the shapes they are made of, and groups that move together.

One unit is 10 cm. A shape is a pair: vertices (N, 3) and faces (M, corners).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import bpy
import numpy as np
from numpy.typing import ArrayLike

from tools.render_sample.noise import fbm

Shape = tuple[np.ndarray, np.ndarray]
Vector3 = tuple[float, float, float]
TAU = 2 * math.pi


@dataclass
class Part:
    """A shape with its material and the masks that the material's shader reads."""

    shape: Shape
    material: bpy.types.Material
    masks: dict[str, np.ndarray] = field(default_factory=dict)


class Group:
    """Objects that hang from one parent and move together."""

    def __init__(self, name: str, location: Vector3 = (0, 0, 0), turn: float = 0.0, scale: float = 1.0) -> None:
        self.objects: list[bpy.types.Object] = []
        self.parent = bpy.data.objects.new(name, None)
        self.parent.location = location
        self.parent.rotation_euler = (0, 0, turn)
        self.parent.scale = (scale,) * 3
        bpy.context.scene.collection.objects.link(self.parent)

    def add(self, parts: Part | list[Part], location: Vector3 = (0, 0, 0), rotation: Vector3 = (0, 0, 0)) -> None:
        """Add the parts as one new object."""
        self.add_mesh(new_mesh(parts if isinstance(parts, list) else [parts]), location, rotation)

    def add_mesh(
        self, mesh: bpy.types.Mesh, location: Vector3 = (0, 0, 0), rotation: Vector3 = (0, 0, 0), scale: float = 1.0
    ) -> None:
        """Add one more object of a mesh that exists."""
        item = bpy.data.objects.new(mesh.name, mesh)
        item.parent = self.parent
        item.location, item.rotation_euler, item.scale = location, rotation, (scale,) * 3
        bpy.context.scene.collection.objects.link(item)
        self.objects.append(item)


def new_mesh(parts: list[Part]) -> bpy.types.Mesh:
    """Return one smooth-shaded mesh of all parts."""
    mesh = bpy.data.meshes.new("mesh")
    corners = [part.shape[1].shape[1] for part in parts for _ in range(len(part.shape[1]))]
    starts = np.concatenate([[0], np.cumsum(corners)[:-1]])
    offsets = np.cumsum([0] + [len(part.shape[0]) for part in parts])
    loops = np.concatenate([(part.shape[1] + offset).ravel() for part, offset in zip(parts, offsets, strict=False)])
    materials = list(dict.fromkeys(part.material for part in parts))
    slots = np.repeat([materials.index(part.material) for part in parts], [len(part.shape[1]) for part in parts])

    mesh.vertices.add(offsets[-1])
    mesh.vertices.foreach_set("co", np.concatenate([part.shape[0] for part in parts]).astype(np.float32).ravel())
    mesh.loops.add(len(loops))
    mesh.loops.foreach_set("vertex_index", loops.astype(np.int32))
    mesh.polygons.add(len(corners))
    mesh.polygons.foreach_set("loop_start", starts.astype(np.int32))
    for material in materials:
        mesh.materials.append(material)
    mesh.polygons.foreach_set("material_index", slots.astype(np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ones(len(corners), bool))
    for name in dict.fromkeys(name for part in parts for name in part.masks):
        values = [np.broadcast_to(part.masks.get(name, 0.0), len(part.shape[0])) for part in parts]
        mesh.attributes.new(name, "FLOAT", "POINT").data.foreach_set("value", np.concatenate(values).astype(np.float32))
    mesh.update(calc_edges=True)
    return mesh


def points(x: ArrayLike, y: ArrayLike, z: ArrayLike) -> np.ndarray:
    """Return (N, 3) points from coordinates that broadcast together."""
    return np.stack(np.broadcast_arrays(x, y, z), -1).reshape(-1, 3).astype(float)


def grid_faces(rows: int, columns: int, wrap_rows: bool = False, wrap_columns: bool = False) -> np.ndarray:
    """Return the quads of a grid of rows * columns vertices; a side may wrap around."""
    row = np.arange(rows if wrap_rows else rows - 1)[:, None]
    column = np.arange(columns if wrap_columns else columns - 1)[None]
    below, right = (row + 1) % rows, (column + 1) % columns
    quads = (row * columns + column, below * columns + column, below * columns + right, row * columns + right)
    return np.stack(np.broadcast_arrays(*quads), -1).reshape(-1, 4)


def signed_power(value: ArrayLike, exponent: float) -> np.ndarray:
    """Return |value| ** exponent with the sign of `value`: rounded squares and the like."""
    return np.sign(value) * np.abs(value) ** exponent


def circle(count: int) -> np.ndarray:
    """Return `count` angles around a circle, as a row."""
    return np.linspace(0, TAU, count, endpoint=False)[None]


def lathe(
    profile: Sequence[tuple[float, float]], sides: int = 72, squareness: float = 1.0, stretch: float = 1.0
) -> Shape:
    """Turn a profile of (radius, height) pairs around the z axis.

    A squareness below 1 makes the outline a rounded square; `stretch` lengthens it along x.
    """
    corners = np.asarray(profile, float)
    steps = np.arange(len(corners))
    fine = np.linspace(0, len(corners) - 1, (len(corners) - 1) * 5 + 1)
    radius, height = (np.interp(fine, steps, corners[:, axis]) for axis in (0, 1))
    for _ in range(2):  # round the corners
        radius[1:-1] = (radius[:-2] + 2 * radius[1:-1] + radius[2:]) / 4
        height[1:-1] = (height[:-2] + 2 * height[1:-1] + height[2:]) / 4
    angle = circle(sides)
    x = radius[:, None] * signed_power(np.cos(angle), squareness) * stretch
    y = radius[:, None] * signed_power(np.sin(angle), squareness)
    return points(x, y, height[:, None]), grid_faces(len(fine), sides, wrap_columns=True)


def superellipsoid(
    size: Vector3, vertical: float = 0.4, horizontal: float = 0.6, rows: int = 24, columns: int = 40
) -> Shape:
    """Return a rounded box or pebble with the given half sizes; small exponents make it boxy."""
    latitude = np.linspace(-math.pi / 2, math.pi / 2, rows)[:, None]
    longitude = circle(columns)
    reach = signed_power(np.cos(latitude), vertical)
    x = size[0] * reach * signed_power(np.cos(longitude), horizontal)
    y = size[1] * reach * signed_power(np.sin(longitude), horizontal)
    z = size[2] * signed_power(np.sin(latitude), vertical)
    return points(x, y, z), grid_faces(rows, columns, wrap_columns=True)[:, ::-1]


def box(size: Vector3) -> Shape:
    """Return a box with slightly rounded edges and the given full sizes, standing on z = 0."""
    vertices, faces = superellipsoid((size[0] / 2, size[1] / 2, size[2] / 2), 0.12, 0.12, 16, 40)
    return vertices + np.array([0, 0, size[2] / 2]), faces


def blob(size: Vector3, roughness: float, frequency: float, shift: float, vertical: float = 0.8) -> Shape:
    """Return an irregular pebble: a superellipsoid pushed about by noise."""
    vertices, faces = superellipsoid(size, vertical, 0.9, 20, 32)
    unit = vertices / np.asarray(size)
    push = 1 + roughness * fbm(unit[:, 0] * frequency + shift, unit[:, 1] * frequency, unit[:, 2] * frequency)
    return vertices * push[:, None], faces


def tube(path: ArrayLike, radius: ArrayLike, sides: int = 10) -> Shape:
    """Return a tube along the path (N, 3), closed at both ends."""
    path = np.asarray(path, float)
    path = np.vstack([path[:1], path, path[-1:]])
    radius = np.pad(np.broadcast_to(radius, len(path) - 2).astype(float), 1)
    along = np.gradient(path, axis=0)
    along[0], along[-1] = along[1], along[-2]
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    across = np.cross(along, [0.13, 0.21, 0.97])  # no path of ours runs straight along this
    across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-9
    over = np.cross(along, across)
    angle = circle(sides)[0]
    ring = np.cos(angle)[None, :, None] * across[:, None] + np.sin(angle)[None, :, None] * over[:, None]
    vertices = path[:, None] + radius[:, None, None] * ring
    return vertices.reshape(-1, 3), grid_faces(len(path), sides, wrap_columns=True)


def copies(shape: Shape, positions: np.ndarray, frames: np.ndarray, sizes: np.ndarray) -> Shape:
    """Merge copies of a shape: positions (N, 3), frames (N, 3, 3) in columns, sizes (N, 3)."""
    vertices, faces = shape
    placed = np.einsum("nij,nkj->nki", frames, vertices[None] * sizes[:, None, :]) + positions[:, None]
    shifts = (np.arange(len(positions)) * len(vertices))[:, None, None]
    return placed.reshape(-1, 3), (faces[None] + shifts).reshape(-1, faces.shape[1])


def frames_along(normals: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return (N, 3, 3) frames, third column along the normals, turned at random about them."""
    tangent = generator.normal(size=normals.shape)
    tangent -= (tangent * normals).sum(1, keepdims=True) * normals
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    return np.stack([tangent, np.cross(normals, tangent), normals], -1)


def unit_vectors(count: int, generator: np.random.Generator) -> np.ndarray:
    """Return `count` random directions (N, 3)."""
    vectors = generator.normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
