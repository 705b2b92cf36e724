"""What a seed decides before any food is on the table: the same for every class."""

from dataclasses import dataclass

from tools.render_sample.draw import Draw, balanced_pick, balanced_uniform

CLASSES = ("pizza", "steak", "sushi")

TABLES = {"planks": 3, "wood": 2, "marble": 1, "stone": 1.5, "cloth": 3, "laminate": 4, "tiles": 1}
TABLEWARE = {
    "white_plate": 7, "coloured_plate": 2, "coupe": 2, "oval_plate": 2, "square_plate": 2, "wood_board": 2,
    "round_board": 1.5, "slate_board": 1, "stone_slab": 1, "pan": 1.2, "metal_tray": 1.5, "paper_plate": 1.5,
    "cardboard_box": 1.5, "lacquer_tray": 1, "plastic_tray": 1, "lined_basket": 1.5,
}  # fmt: skip
LIGHTS = {"window": 5, "lamp": 4, "overcast": 3, "flash": 2.5, "sun": 1.5, "tubes": 2, "candles": 0.8, "neon": 0.8}
SIDES = {
    "none": 7, "fries": 2, "rice": 1.5, "salad": 2, "tomatoes": 1, "lemon": 1, "potatoes": 1, "cucumber": 1,
    "pickles": 1, "sauce_bowl": 2,
}  # fmt: skip
ACCENTS = {
    "none": 9, "herbs": 3, "rocket": 2, "drizzle": 2, "pepper": 1.5, "sesame": 0.7, "onion": 1, "cheese": 0.7,
    "chilli": 1,
}  # fmt: skip
VIEWS = {"overhead": 2.5, "three_quarter": 5.5, "low": 1.8}
FRAMINGS = {"close": 4.5, "middle": 4.5, "wide": 1.7}
NEIGHBOURS = {"none": 5, "pizza": 1, "steak": 1, "sushi": 1}
PROP_COUNTS = {"0": 2, "1": 2, "2": 2, "3": 2, "4": 1.5, "5": 1}


@dataclass(frozen=True)
class Scene:
    """One scene: everything but the food of its class."""

    seed: int
    table: str
    tableware: str
    light: str
    side: str  # side dish beside the food
    accent: str  # what is strewn over it
    view: str
    framing: str
    neighbour: str  # another dish in view, of any class
    prop_count: int
    brightness: float  # mean of the finished picture, 0 to 1

    def draw(self, label: str) -> Draw:
        """Return a stream of random choices of this scene, the same for every class."""
        return Draw(f"scene {self.seed}/{label}")


def draw_scene(seed: int) -> Scene:
    """Return the scene of a seed; a block of seeds holds each option in its share."""
    return Scene(
        seed=seed,
        table=balanced_pick("table", seed, TABLES),
        tableware=balanced_pick("tableware", seed, TABLEWARE),
        light=balanced_pick("light", seed, LIGHTS),
        side=balanced_pick("side", seed, SIDES),
        accent=balanced_pick("accent", seed, ACCENTS),
        view=balanced_pick("view", seed, VIEWS),
        framing=balanced_pick("framing", seed, FRAMINGS),
        neighbour=balanced_pick("neighbour", seed, NEIGHBOURS),
        prop_count=int(balanced_pick("props", seed, PROP_COUNTS)),
        brightness=balanced_uniform("brightness", seed, 0.38, 0.56),
    )
