"""Sushi: pieces in rows, in a ring, in a heap, or the few that are left."""

import math
from dataclasses import dataclass

import bpy

from tools.render_sample import bites, sushi_pieces
from tools.render_sample.draw import Draw
from tools.render_sample.geometry import Group, Part, blob
from tools.render_sample.shading import Shader, vary

SETS = {"nigiri": 7, "rolls": 5, "inside_out": 8, "mixed": 9, "sashimi": 3, "seared": 3}  # weights
SLICED = ["salmon", "tuna", "fatty_tuna", "white_fish", "mackerel", "seared_tuna"]
TOPPED = ["salmon", "tuna", "fatty_tuna", "white_fish", "mackerel", "eel", "prawn", "omelette", "seared_salmon", "beef"]
SEARED = ["seared_beef", "seared_tuna", "seared_salmon", "eel"]


MAX_ROWS, FEWEST = 12, 2


@dataclass(frozen=True)
class Piece:
    """A mesh and the room it needs: half lengths along and across the row."""

    mesh: bpy.types.Mesh
    along: float
    across: float
    is_roll: bool = False


Spot = tuple[Piece, float, float, float]  # x, y and turn


def _nigiri(rng: Draw, rice: bpy.types.Material, kinds: list[str]) -> list[Piece]:
    """Return one piece of each of a few kinds."""
    chosen = rng.sample(kinds, rng.integer(1, 3))
    return [Piece(sushi_pieces.nigiri(rng.child(kind), kind, rice), 0.28, 0.54) for kind in chosen]


def _rolls(rng: Draw, rice: bpy.types.Material, inside_out: bool) -> list[Piece]:
    """Return two slices of the same roll, which differ as slices do."""
    thin = rng.chance(0.4) and not inside_out
    radius = rng.uniform(0.22, 0.26) if thin else rng.uniform(0.3, 0.38)
    height = rng.uniform(0.24, 0.36)
    fillings = 1 if thin else rng.integer(2, 4)
    coat = rng.pick(["plain", "sesame", "sesame", "roe", "crisp"]) if inside_out else None
    stream = rng.child("roll").name
    meshes = [sushi_pieces.roll(Draw(f"{stream} {k}"), radius, height, fillings, rice, coat) for k in range(2)]
    return [Piece(mesh, radius + 0.03, radius + 0.05, True) for mesh in meshes]


def _stock(rng: Draw, choice: str, rice: bpy.types.Material) -> list[list[Piece]]:
    """Return the rows' worth of pieces that a set holds."""
    if choice == "nigiri":
        return [_nigiri(rng.child("a"), rice, TOPPED)]
    if choice == "seared":
        return [_nigiri(rng.child("a"), rice, SEARED)]
    if choice in ("rolls", "inside_out"):
        return [_rolls(rng.child("a"), rice, choice == "inside_out")]
    if choice == "sashimi":
        return [
            [
                Piece(sushi_pieces.sashimi(rng.child(kind), kind), 0.2, 0.42)
                for kind in rng.sample(SLICED, rng.integer(1, 2))
            ]
        ]
    stock = [_nigiri(rng.child("a"), rice, TOPPED), _rolls(rng.child("b"), rice, rng.chance(0.5))]
    if rng.chance(0.4):
        stock.append([Piece(sushi_pieces.gunkan(rng.child("c"), rng.chance(0.5), rice), 0.28, 0.4)])
    return stock


def _put_down(rng: Draw, group: Group, spots: list[Spot], scale: float) -> None:
    """Put the pieces down; rolls sometimes lie on their side."""
    for piece, x, y, turn in spots:
        if piece.is_roll and rng.chance(0.12):
            group.add_mesh(
                piece.mesh, (x, y, (piece.along - 0.02) * scale), (math.pi / 2, 0, rng.uniform(0, 6.28)), scale
            )
        else:
            spin = rng.uniform(0, 6.28) if piece.is_roll else math.pi / 2 + turn
            group.add_mesh(piece.mesh, (x, y, 0), (rng.normal(0.015), rng.normal(0.015), spin), scale)


def _rows(rng: Draw, stock: list[list[Piece]], radius: float, scale: float) -> list[Spot]:
    """Return places in rows across the disc, some of them empty already."""
    slant, looseness = rng.uniform(-0.4, 0.4), rng.uniform(0.98, 1.12)
    eaten = rng.pick([0.0, 0.0, 0.0, 0.15, 0.35])
    spots: list[Spot] = []
    y = -radius
    for number in range(MAX_ROWS):
        row = stock[number % len(stock)]
        depth = 2 * row[0].across * scale * rng.uniform(0.98, 1.08)
        if y + depth > radius:
            break
        middle = y + depth / 2
        half = math.sqrt(max(0.0, radius**2 - (abs(middle) + depth / 3) ** 2))
        pitch = 2 * row[0].along * scale * looseness
        count = int(2 * half / pitch)
        for k in range(count):
            x = (k - (count - 1) / 2) * pitch + rng.normal(0.015)
            if not rng.chance(eaten):
                spots.append((rng.pick(row), x, middle + rng.normal(0.02), slant + rng.normal(0.06)))
        y += depth
    return spots


def _scattered(rng: Draw, stock: list[list[Piece]], radius: float, scale: float) -> list[Spot]:
    """Return places for a few pieces here and there."""
    spots: list[Spot] = []
    wanted, rooms = rng.integer(2, 7), []
    for _ in range(150):
        piece = rng.pick([piece for row in stock for piece in row])
        room = (max(piece.along, piece.across) + 0.04) * scale
        reach, angle = max(0.0, radius - room) * math.sqrt(rng.uniform(0, 1)), rng.uniform(0, 6.28)
        x, y = reach * math.cos(angle), reach * math.sin(angle)
        if len(spots) < wanted and all(math.hypot(x - a, y - b) > room + r for a, b, r in rooms):
            rooms.append((x, y, room))
            spots.append((piece, x, y, rng.uniform(0, 6.28)))
    return spots


def _garnish(rng: Draw, group: Group, radius: float) -> None:
    """Add a dab of wasabi at the edge."""
    shader = Shader(rng.uniform(0, 50))
    tone = shader.noise(9, 5, 0.65)
    colour = shader.mix(tone, vary(rng, "7c9440"), vary(rng, "a9b868"))
    paste = shader.finish(colour=colour, roughness=0.65, normal=shader.bump(tone, 0.9, 0.03))
    angle = rng.uniform(0, 6.28)
    place = (0.93 * radius * math.cos(angle), 0.93 * radius * math.sin(angle), 0.06)
    group.add(Part(blob((0.14, 0.12, 0.1), 0.35, 2.2, rng.uniform(0, 90)), paste), place, (0, 0, angle))


def build(rng: Draw, group: Group, radius: float) -> str:
    """Add sushi that fits a disc; return its sub-type."""
    choice = rng.weighted(SETS)
    stock = _stock(rng.child("stock"), choice, bites.rice_material(rng.child("rice")))
    layout = rng.child("layout")
    scale = radius / 1.25 * layout.uniform(0.62, 1.1)
    spots = [] if layout.chance(0.18) else _rows(layout, stock, radius, scale)
    arrangement = "rows" if len(spots) >= FEWEST else "scattered"
    if arrangement == "scattered":
        spots = _scattered(layout, stock, radius, scale)
    _put_down(layout, group, spots, scale)
    if rng.chance(0.3):
        _garnish(rng.child("garnish"), group, radius)
    return f"{choice} {arrangement}"
