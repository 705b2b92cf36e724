import pytest
import torch
from torch import nn

from going_modular import engine, model_builder
from going_modular.common.errors import InputError
from going_modular.fine_tuning import recipes


def names(model: nn.Module, parameters: list[nn.Parameter]) -> list[str]:
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    return [by_id[id(parameter)] for parameter in parameters]


@pytest.mark.parametrize(
    ("name", "count", "last"),
    [
        ("efficientnet_lite0", 18, "features.8"),
        ("resnet18", 9, "layer4.1"),
        ("convnext_tiny", 22, "features.7.2"),
        ("vit_b_16", 13, "encoder.layers.encoder_layer_11"),
        ("hybrid_efficientnet_lite0", 18, "features.8"),
    ],
)
def test_blocks_are_the_whole_backbone_in_order(name, count, last):
    model, _ = model_builder.create_model(name, 3, weights=None)
    blocks = recipes.blocks(model)
    assert len(blocks) == count
    everything = [id(parameter) for block in blocks for parameter in block]
    assert len(everything) == len(set(everything))
    assert set(everything) == {id(parameter) for parameter in model_builder.backbone(model).parameters()}
    # in the order of depth: the last block is the last module before the head, with a norm that stands behind it
    assert names(model, blocks[-1])[0].removeprefix("trunk.").startswith(last)


@pytest.mark.parametrize("count", [-1, -2, -19])
def test_fewer_than_no_blocks_cannot_learn(count):
    model, _ = model_builder.create_model("efficientnet_lite0", 3, weights=None)
    recipes.unfreeze(model, 2)
    before = [parameter.requires_grad for parameter in model.parameters()]
    with pytest.raises(InputError, match=f"{count} blocks cannot learn; give 0 for none, up to 18, or None for all"):
        recipes.unfreeze(model, count)
    assert [parameter.requires_grad for parameter in model.parameters()] == before


def test_what_stands_outside_a_vits_blocks_goes_with_the_first():
    model, _ = model_builder.create_model("vit_b_16", 3, weights=None)
    first = names(model, recipes.blocks(model)[0])
    assert {"class_token", "encoder.pos_embedding", "conv_proj.weight"} <= set(first)
    assert "encoder.ln.weight" in names(model, recipes.blocks(model)[-1])


@pytest.mark.parametrize(("recipe", "learning"), [("head", 0), ("last-2", 2), ("all", 18)])
def test_a_recipe_lets_the_last_blocks_and_the_head_learn(recipe, learning):
    model, _ = model_builder.create_model("efficientnet_lite0", 3)
    [stage] = recipes.stages(recipe)
    recipes.unfreeze(model, stage.blocks, batch_norm=True)
    learns = [all(parameter.requires_grad for parameter in block) for block in recipes.blocks(model)]
    assert learns == [False] * (18 - learning) + [True] * learning
    assert all(parameter.requires_grad for parameter in model_builder.head(model).parameters())
    recipes.unfreeze(model, 0)
    assert not any(parameter.requires_grad for parameter in model_builder.backbone(model).parameters())


def test_batch_norm_stays_as_pretrained_unless_asked_to_learn():
    model, _ = model_builder.create_model("efficientnet_lite0", 3)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for batch_norm in (False, True):
        recipes.unfreeze(model, None, batch_norm=batch_norm)
        engine.set_train_mode(model)
        assert {norm.training for norm in norms} == {batch_norm}
        assert {norm.weight.requires_grad for norm in norms} == {batch_norm}
        assert all(m.training and m.weight.requires_grad for m in model.modules() if isinstance(m, nn.Conv2d))


def test_stages_follow_the_name():
    assert recipes.stages("head-then-all") == [recipes.Stage("head", 0), recipes.Stage("all", None)]
    assert recipes.stages("last-12") == [recipes.Stage("last-12", 12)]


@pytest.mark.parametrize("recipe", ["", "heads", "last-0", "last-N", "last--1", "last-", "all-then-head", "Head"])
def test_an_unknown_recipe_is_named(recipe):
    with pytest.raises(InputError, match=rf"Unknown recipe '{recipe}'; choose one of head, head-then-all, last-N, all"):
        recipes.stages(recipe)


def test_more_blocks_than_there_are_is_an_error():
    model, _ = model_builder.create_model("efficientnet_lite0", 3)
    with pytest.raises(InputError, match=r"last-19.* has 18 blocks only; use all"):
        recipes.unfreeze(model, 19)


def test_learning_rates_fall_with_distance_from_the_head():
    model, _ = model_builder.create_model("efficientnet_lite0", 3)
    recipes.unfreeze(model, None, batch_norm=True)
    groups = recipes.parameter_groups(model, lr=0.1, head_lr=0.7, layer_decay=0.5, weight_decay=0.01)
    rate = {group["name"]: group["lr"] for group in groups}
    assert rate["head"] == rate["head, not decayed"] == 0.7
    assert [rate[f"block {number}"] for number in (18, 17, 1)] == pytest.approx([0.1, 0.05, 0.1 * 0.5**17])
    # each parameter once; what is decayed is what has a matrix
    chosen = [parameter for group in groups for parameter in group["params"]]
    assert {id(p) for p in chosen} == {id(p) for p in model.parameters()}
    assert len(chosen) == len(list(model.parameters()))
    for group in groups:
        assert {parameter.ndim > 1 for parameter in group["params"]} == {group["weight_decay"] > 0}


def test_frozen_blocks_have_no_group():
    model, _ = model_builder.create_model("efficientnet_lite0", 3)
    recipes.unfreeze(model, 1)
    groups = recipes.parameter_groups(model, lr=0.1, head_lr=0.1, layer_decay=1, weight_decay=0)
    assert {group["name"].split(",")[0] for group in groups} == {"head", "block 18"}


def rates(kind: str, *, warmup_steps: int, total_steps: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = recipes.schedule(optimizer, kind, warmup_steps=warmup_steps, total_steps=total_steps)
    seen = []
    for _ in range(total_steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


@pytest.mark.parametrize("kind", ["cosine", "step", "constant"])
def test_schedules_warm_up_and_then_never_rise(kind):
    seen = rates(kind, warmup_steps=4, total_steps=16)
    assert seen[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert seen[4:] == sorted(seen[4:], reverse=True)
    assert rates(kind, warmup_steps=0, total_steps=3)[0] == 1.0


def test_schedules_end_where_they_say():
    assert rates("cosine", warmup_steps=0, total_steps=10)[5] == pytest.approx(0.5)
    assert rates("step", warmup_steps=0, total_steps=9) == pytest.approx([1] * 3 + [0.1] * 3 + [0.01] * 3)
    assert rates("constant", warmup_steps=1, total_steps=5)[1:] == [1] * 4
