"""Where a learner skips an exercise of notebook 04, the course's part stands in; what is right is used."""

import pytest
import torch
import torchvision
from torch import nn

from going_modular import vit
from going_modular.checks import nb04

WIDTH, MLP, HEADS = 24, 48, 2
PARTS = ["patchify", "embed", "block", "vision_transformer", "block_cost"]


def skipped(*arguments, **options):
    raise NotImplementedError


@pytest.mark.parametrize("exercise", PARTS)
def test_a_skipped_part_is_the_course_s_which_its_own_check_finds_right(exercise, capsys):
    part = nb04.yours_or_ours(exercise, skipped)
    assert capsys.readouterr().out == f"{exercise}: that of the course\n"
    assert getattr(nb04, exercise).judge(part) == "right"


def test_attention_stands_in_though_its_check_would_refuse_it_as_ready_made():
    query, key, value = torch.randn(3, 2, 5, 8, generator=torch.Generator().manual_seed(0))
    scores = query @ key.transpose(1, 2) / 8**0.5
    attend = nb04.yours_or_ours("attention", skipped)
    torch.testing.assert_close(attend(query, key, value, 1), scores.softmax(dim=2) @ value)
    assert "scaled_dot_product_attention" in nb04.attention.judge(attend)


def test_a_right_part_is_used(capsys):
    def mine(patches, class_token, positions):
        return torch.cat([class_token.repeat(len(patches), 1, 1), patches], dim=1) + positions

    assert nb04.yours_or_ours("embed", mine) is mine
    assert capsys.readouterr().out == "embed: yours\n"


def test_the_course_s_parts_make_torchvision_s_network():
    theirs = torchvision.models.VisionTransformer(32, 16, 2, HEADS, WIDTH, MLP, num_classes=5).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():  # many start at 0 or 1, where a part left out would not be missed
            parameter.add_(0.05 * torch.randn_like(parameter))
    patchify, embed = (nb04.yours_or_ours(name, skipped) for name in ("patchify", "embed"))
    block = nb04.yours_or_ours("block", skipped)
    ours = vit.from_torchvision(theirs)
    kernel = ours.patch_embedding.projection
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        patches = nn.functional.linear(patchify(images, 16), kernel.weight.flatten(1), kernel.bias)
        tokens = embed(patches, ours.class_token, ours.position_embedding)
        for trained in ours.blocks:
            mine = block(WIDTH, MLP, HEADS)
            mine.load_state_dict(trained.state_dict())
            tokens = mine(tokens)
        found, expected = ours.head(ours.norm(tokens[:, 0])), theirs(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
