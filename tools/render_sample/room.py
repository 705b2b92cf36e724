"""The table, and the room that shows behind it."""

import numpy as np

from tools.render_sample import materials
from tools.render_sample.draw import Draw
from tools.render_sample.geometry import Group, Part, box, points
from tools.render_sample.shading import plain, vary

WALLS = ["3a2a1e", "6a5038", "24262c", "b8b0a2", "cfc8bc", "5a2a20", "2a3a34", "7a8f80"]
FURNITURE = ["1c1612", "3d2a1c", "6e4a2c", "8a8478", "b5a890", "2c3440", "6a2420", "d8d2c4", "44543c"]
FLOORS = ["2a2420", "4a4038", "6a6660", "241c18"]
TABLE_HALF_WIDTH = 12.0
GLOW = (0.0, 0.0, 0.0, 1.5, 3.0)  # most things behind are dark, some are windows and lamps


def _furnish(rng: Draw, distance: float) -> None:
    """Add what stands and hangs in the room: upright shapes that focus leaves blurred."""
    room = Group("room", (0, distance, -7))
    for _ in range(rng.integer(6, 14)):
        colour, glow = vary(rng, rng.pick(FURNITURE), 0.2), rng.pick(GLOW)
        shade = plain(colour, 0.6, emission=colour, emission_strength=glow * rng.uniform(0.2, 1))
        size = (rng.uniform(0.5, 4), rng.uniform(0.2, 1), rng.uniform(1, 12))
        room.add(
            Part(box(size), shade), (rng.normal(7), -rng.uniform(0.3, 3), rng.pick([0.0, 0.0, rng.uniform(3, 10)]))
        )


def build_room(rng: Draw, table: str) -> None:
    """Add the table top, the floor, a wall at some distance and furniture before it."""
    edge = rng.uniform(3.2, 9.0)  # of the table, behind the dish
    half, turn = TABLE_HALF_WIDTH, rng.pick([0.0, np.pi / 2]) + rng.normal(0.12)
    corners = np.array([(-half, -half), (half, -half), (half, edge), (-half, edge)])
    cosine, sine = np.cos(turn), np.sin(turn)
    turned = corners @ np.array([[cosine, -sine], [sine, cosine]])  # the grain runs along the object's x axis
    sheet = (points(turned[:, 0], turned[:, 1], 0.0), np.array([[0, 1, 2, 3]]))
    Group("table").add(Part(sheet, materials.TABLES[table](rng.child("table"))), (0, 0, -0.002), (0, 0, turn))

    floor = plain(vary(rng, rng.pick(FLOORS), 0.2), 0.7)
    Group("floor", (0, 0, -7)).add(Part(box((60, 60, 0.1)), floor))
    distance = edge + rng.uniform(3, 9)
    wall = plain(vary(rng, rng.pick(WALLS), 0.2), 0.8)
    Group("wall", (0, distance, -7)).add(Part(box((60, 0.2, 24)), wall))
    _furnish(rng.child("furniture"), distance)
