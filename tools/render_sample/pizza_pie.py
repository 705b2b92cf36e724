"""The pie: the height field that dough, sauce and cheese share, and the pieces it is cut into."""

import math
from dataclasses import dataclass, field

import numpy as np

from tools.render_sample.draw import Draw
from tools.render_sample.noise import fbm, smoothstep
from tools.render_sample.pizza_materials import BasePlan


@dataclass
class Piece:
    """One piece: where it lies, and for slices which angles it spans and what is bitten off."""

    shift: tuple[float, float] = (0.0, 0.0)
    start: float = 0.0
    end: float = 2 * math.pi
    bitten: float = 0.0  # share of the radius that is gone from the tip
    box: tuple[float, float, float, float] | None = None  # x and y range of a square piece

    @property
    def is_whole(self) -> bool:
        """Whether this is a whole pizza, not a slice or a square."""
        return self.box is None and self.end - self.start >= 2 * math.pi

    def holds(self, x: float, y: float, radius: float, margin: float) -> bool:
        """Return whether the point lies on the piece, `margin` away from its cuts."""
        if self.box:
            left, right, low, high = self.box
            return left + margin < x < right - margin and low + margin < y < high - margin
        reach = math.hypot(x, y)
        if self.is_whole:
            return True
        turn = (math.atan2(y, x) - self.start) % (2 * math.pi)
        gap = min(turn, self.end - self.start - turn)
        return gap > 0 and gap * reach > margin and reach > (self.bitten + 0.05) * radius + margin


@dataclass
class Pie:
    """The field that dough, sauce and cheese share, and the pieces it is cut into."""

    rng: Draw
    radius: float
    power: float
    plan: BasePlan
    pieces: list[Piece] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = self.rng.child("field")
        self.shifts = [rng.uniform(0, 90) for _ in range(3)]
        self.rim = rng.uniform(0.82, 0.93)  # where the crust begins
        self.rim_height = rng.uniform(0.04, 0.2)
        self.base_height = rng.pick([0.05, 0.06, 0.08, 0.16])
        self.unevenness = rng.uniform(0.01, 0.04)
        self.cover = rng.uniform(*self.plan.cover)
        self.patch_scale = rng.uniform(1.8, 4.0)

    def edge_distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the distance from the middle as a share of that to the rim."""
        reach = np.hypot(x, y) + 1e-6
        norm = (np.abs(x) ** self.power + np.abs(y) ** self.power + 1e-12) ** (1 / self.power)
        wobble = 1 + self.unevenness * fbm(x / reach * 1.3 + self.shifts[0], y / reach * 1.3, 0, 2)
        return norm / (self.radius * wobble)

    def surface(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the height at (x, y), and the masks `cheese`, `sauce` and `crust`."""
        x, y = np.asarray(x, float), np.asarray(y, float)
        first, second, third = self.shifts
        edge, reach = self.edge_distance(x, y), np.hypot(x, y) + 1e-6
        rim = self.rim + 0.035 * fbm(x / reach * 2.5 + second, y / reach * 2.5, 0, 3)
        crust = np.clip((edge - rim) / (1 - rim), 0, 1)
        bubbles = np.clip(fbm(x / reach * 3.5 + third, y / reach * 3.5, 0, 3), -0.5, 1)
        swell = np.sin(math.pi * np.clip(crust * 0.93, 0, 1)) ** 0.6 * self.rim_height * (1 + 0.6 * bubbles)
        patches = fbm(x * self.patch_scale + first, y * self.patch_scale + second, 3.0, 4)
        cheese = smoothstep(self.cover - 0.12, self.cover + 0.12, patches)
        cheese = cheese * smoothstep(rim + 0.015, rim - 0.035, edge + 0.02 * fbm(x * 6, y * 6, 7))
        sauce = smoothstep(rim + 0.02, rim - 0.02, edge + 0.03 * fbm(x * 4, y * 4, 9))
        melt = 0.03 + 0.02 * fbm(x * 4 + third, y * 4, 5, 3)
        height = self.base_height + swell + cheese * melt + 0.01 * fbm(x * 7, y * 7, 2, 3)
        return height, {"cheese": cheese.ravel(), "sauce": sauce.ravel(), "crust": crust.ravel()}

    def spots(self, rng: Draw, count: int, room: float, gap: float, taken: list) -> list[tuple[float, float, Piece]]:
        """Return places for toppings of radius `room`, apart from those in `taken`."""
        spots = []
        for _ in range(count * 20):
            if len(spots) == count:
                break
            x, y = rng.uniform(-1, 1) * self.radius, rng.uniform(-1, 1) * self.radius
            near = any(math.hypot(x - a, y - b) < (room + r) * gap for a, b, r in taken)
            if near or self.edge_distance(np.array(x), np.array(y)) > self.rim - 0.7 * room / self.radius:
                continue
            piece = next((p for p in self.pieces if p.holds(x, y, self.radius, 0.6 * room)), None)
            if piece:
                taken.append((x, y, room))
                spots.append((x, y, piece))
        return spots
