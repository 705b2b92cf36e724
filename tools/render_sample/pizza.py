"""Pizza: one height field for dough, sauce and cheese, cut into pieces, with toppings draped on it."""

import math

import bpy
import numpy as np

from tools.render_sample.draw import Draw
from tools.render_sample.geometry import Group, Part, circle, grid_faces, points, tube
from tools.render_sample.noise import fbm
from tools.render_sample.pizza_materials import base_material, crumb_material
from tools.render_sample.pizza_pie import Pie, Piece
from tools.render_sample.pizza_styles import STYLES
from tools.render_sample.pizza_toppings import Table
from tools.render_sample.shading import plain, vary

FORMS = {"whole": 10, "cut": 10, "slice": 6, "slices": 4, "square": 4, "eaten": 3}  # weights
SQUARE_POWER = 7.0  # of the superellipse that a square pizza is; 2 is a circle
RADIAL_STEPS, RIM_STEPS = 64, 46  # rows of the mesh inside and at the rim


def _walls(
    grid: np.ndarray, sides: list[tuple[np.ndarray, bool]], masks: dict
) -> list[tuple[np.ndarray, np.ndarray, dict, bool]]:
    """Return vertices, faces, masks and kind of the walls that close a piece down to the dish."""
    walls = []
    for index, is_cut in sides:
        top, count = grid[index], len(index)
        foot = top * [1, 1, 0]
        middle = top * [1, 1, 0.5] + [0, 0, 0.01]
        doubled = {name: np.tile(mask[index], 3) for name, mask in masks.items()}
        walls.append((np.vstack([top, middle, foot]), grid_faces(3, count), doubled, is_cut))
    return walls


def _piece_grid(pie: Pie, piece: Piece) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return x and y of the piece's mesh, rows from the middle to the rim, and whether columns wrap."""
    if piece.box:
        left, right, low, high = piece.box
        x, y = np.broadcast_arrays(np.linspace(left, right, 70)[:, None], np.linspace(low, high, 70)[None])
        outside = np.maximum(pie.edge_distance(x, y), 1)
        return x / outside, y / outside, False
    angle = circle(360) + piece.start if piece.is_whole else np.linspace(piece.start, piece.end, 70)[None]
    inner = piece.bitten * (1 + 0.12 * np.abs(np.sin(angle * 9)) + 0.1 * fbm(angle * 3, 0 * angle + pie.shifts[0]))
    rows = np.concatenate([np.linspace(0.002, 0.8, RADIAL_STEPS), np.linspace(0.805, 1, RIM_STEPS)])[:, None]
    reach = inner + (1 - inner) * rows if piece.bitten else rows + 0 * angle
    rim = pie.edge_distance(np.cos(angle), np.sin(angle))
    return reach * np.cos(angle) / rim, reach * np.sin(angle) / rim, piece.is_whole


def _build_piece(pie: Pie, piece: Piece, group: Group, base: bpy.types.Material, crumb: bpy.types.Material) -> None:
    """Add the mesh of one piece."""
    x, y, whole = _piece_grid(pie, piece)
    height, masks = pie.surface(x, y)
    rows, columns = x.shape
    vertices = points(x, y, height)
    index = np.arange(rows * columns).reshape(rows, columns)
    if whole:
        sides = [(np.append(index[-1], index[-1, 0]), False)]
    else:
        sides = [(index[:, 0], True), (index[:, -1], True), (index[0], True), (index[-1], piece.box is not None)]
    parts = [Part((vertices, grid_faces(rows, columns, wrap_columns=whole)), base, masks)]
    for wall, faces, wall_masks, is_cut in _walls(vertices, sides, masks):
        parts.append(Part((wall, faces), crumb if is_cut else base, wall_masks))
    group.add(parts, (*piece.shift, 0))


def _sectors(rng: Draw, radius: float, count: int) -> list[Piece]:
    """Return equal slices of a round pizza, pulled apart a little."""
    turn, gap = rng.uniform(0, 6.28), rng.uniform(0.001, 0.02) * radius
    pieces = []
    for number in range(count):
        start = turn + number * 2 * math.pi / count
        middle = start + math.pi / count
        pull = gap + abs(rng.normal(gap)) + (rng.uniform(0.1, 0.3) * radius if rng.chance(0.08) else 0)
        shift = (pull * math.cos(middle), pull * math.sin(middle))
        pieces.append(Piece(shift, start, start + 2 * math.pi / count))
    return pieces


def _cut(rng: Draw, form: str, radius: float) -> tuple[list[Piece], float, float]:
    """Return the pieces of a form, the pizza's radius and the power of its outline."""
    if form == "whole":
        return [Piece()], radius, 2.0
    if form in ("cut", "eaten"):
        pieces = _sectors(rng, radius, rng.pick([6, 8, 8]))
        keep = rng.integer(2, 5) if form == "eaten" else len(pieces) - rng.pick([0, 0, 1, 2])
        return pieces[:keep], radius, 2.0
    if form == "square":
        half, pieces = radius * 0.85, []
        cuts = rng.pick([2, 2, 3])
        lines = np.linspace(-half, half, cuts + 1)
        for column in range(cuts):
            for row in range(cuts):
                shift = (
                    (column - cuts / 2 + 0.5) * 0.06 + rng.normal(0.02),
                    (row - cuts / 2 + 0.5) * 0.06 + rng.normal(0.02),
                )
                pieces.append(Piece(shift, box=(lines[column], lines[column + 1], lines[row], lines[row + 1])))
        return rng.sample(pieces, rng.integer(max(1, len(pieces) - 3), len(pieces))), half, SQUARE_POWER
    return _loose_slices(rng, form, radius)


def _loose_slices(rng: Draw, form: str, radius: float) -> tuple[list[Piece], float, float]:
    """Return one or a few slices of a larger pizza, some of them bitten."""
    large = radius * (2.0 if form == "slice" else 1.4)
    pieces = _sectors(rng, large, 8)[: 1 if form == "slice" else rng.integer(2, 3)]
    for piece in pieces:
        middle = (piece.start + piece.end) / 2
        back = -0.55 * large if form == "slice" else rng.uniform(-0.35, -0.05) * large
        piece.shift = (back * math.cos(middle) + rng.normal(0.02), back * math.sin(middle) + rng.normal(0.02))
        piece.bitten = rng.uniform(0.2, 0.5) if rng.chance(0.25) else 0.0
    return pieces, large, 2.0


def _cheese_strings(rng: Draw, pie: Pie, group: Group) -> None:
    """Draw threads of cheese across the gaps between neighbouring slices."""
    material = plain(vary(rng, "e6c272"), 0.3, coat=0.2)
    for left, right in zip(pie.pieces, pie.pieces[1:], strict=False):
        apart = math.dist(left.shift, right.shift)
        if left.box or abs(left.end - right.start) > 1e-6 or not 0.04 < apart < 0.4:
            continue
        for _ in range(rng.integer(1, 4)):
            reach = rng.uniform(0.3, 0.75) * pie.radius
            x, y = reach * math.cos(left.end), reach * math.sin(left.end)
            height = float(pie.surface(x, y)[0]) - 0.01
            t = np.linspace(0, 1, 14)[:, None]
            path = (1 - t) * [x + left.shift[0], y + left.shift[1], height] + t * [
                x + right.shift[0],
                y + right.shift[1],
                height,
            ]
            path[:, 2] -= (0.35 * apart * t * (1 - t))[:, 0]
            group.add(Part(tube(path, rng.uniform(0.008, 0.016) * (1 + 2 * (t[:, 0] - 0.5) ** 2)), material))


def build(rng: Draw, group: Group, radius: float) -> str:
    """Add a pizza, or pieces of one, that fits a disc; return its sub-type."""
    name = rng.weighted({name: style.weight for name, style in STYLES.items()})
    style = STYLES[name]
    form = rng.weighted(FORMS)
    pieces, size, power = _cut(rng.child("cut"), form, radius * rng.uniform(0.82, 1.02))
    pie = Pie(rng, size, power, style.base, pieces)
    bake = rng.uniform(0.1, 1.0)
    base, crumb = base_material(rng.child("base"), style.base, bake), crumb_material(rng.child("crumb"))
    for piece in pieces:
        _build_piece(pie, piece, group, base, crumb)
    _cheese_strings(rng.child("strings"), pie, group)
    table = Table(rng.child("toppings"), pie, group, bake, [])
    for topping in (*style.always, *(topping for topping in style.maybe if rng.chance(0.45))):
        topping(table)
    return f"{name} {form}"
