"""Kinds of pizza: what each is made of."""

from collections.abc import Callable
from dataclasses import dataclass

from tools.render_sample import pizza_toppings as toppings
from tools.render_sample.pizza_materials import BasePlan

Topping = Callable[[toppings.Table], None]


@dataclass(frozen=True)
class Style:
    """A kind of pizza: its base, what it always carries, and what it may."""

    base: BasePlan
    always: tuple[Topping, ...]
    maybe: tuple[Topping, ...] = ()
    weight: int = 2


RED = BasePlan("tomato", ("yellow", "white", "orange"), (-0.6, -0.05))
SPARSE = BasePlan("tomato", ("white", "yellow"), (-0.05, 0.2))
WHITE = BasePlan("cream", ("white", "yellow"), (-0.4, 0.1))
GREEN = BasePlan("pesto", ("white", "yellow"), (-0.2, 0.15))
BROWN = BasePlan("barbecue", ("yellow", "orange"), (-0.3, 0.05))
STYLES = {
    "pepperoni": Style(RED, (toppings.pepperoni,), (toppings.olives, toppings.basil), weight=6),
    "margherita": Style(SPARSE, (toppings.basil,), (toppings.tomatoes, toppings.mozzarella), weight=5),
    "cheese": Style(RED, (), (toppings.basil,), weight=4),
    "white": Style(WHITE, (toppings.mozzarella,), (toppings.mushrooms, toppings.onions, toppings.basil)),
    "vegetable": Style(
        RED, (toppings.peppers, toppings.olives), (toppings.onions, toppings.mushrooms, toppings.tomatoes), weight=4
    ),
    "mixed": Style(
        RED, (toppings.pepperoni, toppings.mushrooms), (toppings.olives, toppings.peppers, toppings.mince), weight=5
    ),
    "ham": Style(RED, (toppings.ham,), (toppings.pineapple, toppings.mushrooms), weight=4),
    "mushroom": Style(WHITE, (toppings.mushrooms,), (toppings.mince, toppings.basil)),
    "prosciutto": Style(SPARSE, (toppings.prosciutto,), (toppings.mozzarella, toppings.basil)),
    "salmon": Style(WHITE, (toppings.salmon,), (toppings.onions, toppings.basil), weight=1),
    "beef": Style(BROWN, (toppings.beef,), (toppings.onions, toppings.mushrooms), weight=1),
    "mince": Style(BROWN, (toppings.mince,), (toppings.onions, toppings.peppers)),
    "pesto": Style(GREEN, (toppings.tomatoes,), (toppings.mozzarella, toppings.olives), weight=1),
}
