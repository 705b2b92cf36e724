"""Wrong answers to the exercises of notebook 04 that a learner might give."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from going_modular import vit


def pieces(images, size):
    return images.unfold(2, size, size).unfold(3, size, size)  # (B, C, H/P, W/P, P, P)


def heads_of(x, num_heads):
    return x.unflatten(2, (num_heads, -1)).transpose(1, 2)


def attend(scale, dim=3):
    def attention(query, key, value, num_heads):
        query, key, value = (heads_of(x, num_heads) for x in (query, key, value))
        weights = (query @ key.transpose(2, 3) / scale(query, num_heads)).softmax(dim=dim)
        return (weights @ value).transpose(1, 2).flatten(2)

    return attention


def without_bringing_heads_to_the_front(query, key, value, num_heads):
    query, key, value = (x.unflatten(2, (num_heads, -1)) for x in (query, key, value))  # (B, T, h, D/h)
    weights = (query @ key.transpose(2, 3) / math.sqrt(query.shape[3])).softmax(dim=3)
    return (weights @ value).flatten(2)


def cut_across_tokens(query, key, value, num_heads):
    batch, tokens, dim = query.shape
    heads = (x.reshape(batch, num_heads, tokens, dim // num_heads) for x in (query, key, value))
    return F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)


def one_head(query, key, value, num_heads):
    return F.scaled_dot_product_attention(query, key, value)


def heads_left_apart(query, key, value, num_heads):
    return F.scaled_dot_product_attention(*(heads_of(x, num_heads) for x in (query, key, value)))


def mended(divide=math.sqrt, dim=2, *, mask_after=False, mask_inverted=False, masked=True):
    """Return masked attention with the faults that are asked for."""

    def attention(query, key, value, mask):
        allowed = ~mask if mask_inverted else mask
        scores = query @ key.transpose(1, 2) / divide(query.shape[2])
        if masked and not mask_after:
            scores = scores.masked_fill(~allowed, -math.inf)
        shares = scores.softmax(dim=dim)
        if mask_after:
            shares = shares.masked_fill(~allowed, 0)
        return shares.nan_to_num() @ value

    return attention


def ready_made(query, key, value, num_heads):
    heads = (heads_of(x, num_heads) for x in (query, key, value))
    return F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)


def ready_made_module(query, key, value, num_heads):
    dim = query.shape[2]
    module = nn.MultiheadAttention(dim, num_heads, batch_first=True, bias=False).eval()
    with torch.no_grad():
        module.in_proj_weight.copy_(torch.eye(dim).repeat(3, 1))
        module.out_proj.weight.copy_(torch.eye(dim))
        return module(query, key, value)[0]


def package_attention(query, key, value, mask):
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


class Right(vit.EncoderBlock):
    """A right block, for wrong ones to spoil."""

    def __init__(self, hidden_dim, mlp_dim, num_heads):
        super().__init__(hidden_dim=hidden_dim, mlp_dim=mlp_dim, num_heads=num_heads)

    def attend(self, tokens):
        return self.attention(tokens)[0]


def block_that(forward, change=None):
    """Return a class of blocks with another forward pass, and changed when it is built."""

    class Block(Right):
        def __init__(self, hidden_dim, mlp_dim, num_heads):
            super().__init__(hidden_dim, mlp_dim, num_heads)
            if change:
                change(self)

        def forward(self, tokens):
            return forward(self, tokens)

    return Block


def as_it_should(block, tokens):
    tokens = tokens + block.attend(block.attention_norm(tokens))
    return tokens + block.mlp(block.mlp_norm(tokens))


def norm_after(block, tokens):
    tokens = block.attention_norm(tokens + block.attend(tokens))
    return block.mlp_norm(tokens + block.mlp(tokens))


def normalised_stays(block, tokens):
    tokens = block.attention_norm(tokens)
    tokens = tokens + block.attend(tokens)
    tokens = block.mlp_norm(tokens)
    return tokens + block.mlp(tokens)


def nothing_added(block, tokens):
    return block.mlp(block.mlp_norm(block.attend(block.attention_norm(tokens))))


def mlp_not_added(block, tokens):
    return block.mlp(block.mlp_norm(tokens + block.attend(block.attention_norm(tokens))))


def one_norm(block, tokens):
    tokens = tokens + block.attend(block.attention_norm(tokens))
    return tokens + block.mlp(block.attention_norm(tokens))


def side_by_side(block, tokens):
    return tokens + block.attend(block.attention_norm(tokens)) + block.mlp(block.mlp_norm(tokens))


def relu(block):
    block.mlp[1] = nn.ReLU()


def without_dropout(block):
    block.mlp = nn.Sequential(*[layer for layer in block.mlp if not isinstance(layer, nn.Dropout)])


def other_name(block):
    block.norm1 = block.attention_norm
    del block.attention_norm


def vit_that(read=lambda tokens: tokens[:, 0], *, normalised=True, blocks=slice(None), positions=True, change=None):
    """Return a class of Vision Transformers that differ from a right one."""

    class Wrong(vit.VisionTransformer):
        def __init__(self, **sizes):
            super().__init__(**sizes)
            if change:
                change(self)

        def forward(self, images):
            patches = self.patch_embedding(images)
            tokens = torch.cat([self.class_token.expand(len(images), -1, -1), patches], dim=1)
            tokens = tokens + self.position_embedding * positions
            for block in self.blocks[blocks]:
                tokens = block(tokens)[0]
            return self.head(read(self.norm(tokens) if normalised else tokens))

    return Wrong


def in_a_list(model):
    blocks = list(model.blocks)
    del model.blocks
    object.__setattr__(model, "blocks", blocks)


def no_class_position(model):
    model.position_embedding = nn.Parameter(model.position_embedding[:, 1:].detach().clone())


def cost(*, class_token=1, linear=4, products=2, heads=False, mlp=2, size=4, twice=1):
    """Return a count that leaves out or adds what is asked for."""

    def count(num_patches, hidden_dim, mlp_dim, num_heads):
        tokens = num_patches + class_token
        attention = products * tokens**2 * hidden_dim * (num_heads if heads else 1)
        total = tokens * (linear * hidden_dim**2 + mlp * hidden_dim * mlp_dim) + attention
        return twice * total, num_heads * tokens**2 * size

    return count


WRONG = {
    "patchify": [
        lambda images, size: images.reshape(len(images), -1, images.shape[1] * size * size),
        lambda images, size: pieces(images, size).flatten(2, 3).flatten(3),  # channels first
        lambda images, size: pieces(images, size).permute(0, 3, 2, 1, 4, 5).flatten(1, 2).flatten(2),  # by columns
        lambda images, size: pieces(images, size).permute(0, 2, 3, 4, 5, 1).flatten(1, 2).flatten(2),  # channel last
        lambda images, size: pieces(images, size).permute(0, 2, 3, 1, 5, 4).flatten(1, 2).flatten(2),  # patches turned
        lambda images, size: F.unfold(images, size, stride=size),
    ],
    "embed": [
        lambda patches, class_token, positions: patches + positions[:, 1:],
        lambda patches, class_token, positions: (
            torch.cat([patches, class_token.expand(len(patches), -1, -1)], dim=1) + positions
        ),
        lambda patches, class_token, positions: torch.cat(
            [class_token.expand(len(patches), -1, -1), patches + positions[:, 1:]], dim=1
        ),
        lambda patches, class_token, positions: (
            torch.cat([class_token.expand(len(patches), -1, -1), patches + positions[:, :-1]], dim=1)
            + positions[:, :1] * 0
        ),
        lambda patches, class_token, positions: torch.cat([class_token, patches], dim=1) + positions,
        lambda patches, class_token, positions: torch.cat([class_token.expand(len(patches), -1, -1), patches], dim=1),
    ],
    "attention": [
        attend(lambda query, num_heads: math.sqrt(query.shape[3] * num_heads)),  # by the embedding's width
        attend(lambda query, num_heads: 1),
        attend(lambda query, num_heads: query.shape[3]),
        attend(lambda query, num_heads: math.sqrt(num_heads)),
        attend(lambda query, num_heads: math.sqrt(query.shape[3]), dim=2),
        without_bringing_heads_to_the_front,
        cut_across_tokens,
        one_head,
        heads_left_apart,
        ready_made,
        ready_made_module,
    ],
    "mend_attention": [
        mended(divide=lambda width: width),
        mended(divide=lambda width: 1),
        mended(dim=1),
        mended(mask_after=True),
        mended(mask_inverted=True),
        mended(masked=False),
        mended(divide=lambda width: width, dim=1, mask_after=True),  # as it stands
        package_attention,
    ],
    "block": [
        *map(block_that, (norm_after, normalised_stays, nothing_added, mlp_not_added, one_norm, side_by_side)),
        *(block_that(as_it_should, change) for change in (relu, without_dropout, other_name)),
        Right,  # returns a pair
        lambda hidden_dim, mlp_dim, num_heads: lambda tokens: tokens,
    ],
    "vision_transformer": [
        vit_that(lambda tokens: tokens[0]),
        vit_that(lambda tokens: tokens[:, -1]),
        vit_that(lambda tokens: tokens.mean(dim=1)),
        vit_that(lambda tokens: tokens),
        vit_that(normalised=False),
        vit_that(positions=False),
        vit_that(blocks=slice(1)),
        vit_that(blocks=slice(None, None, -1)),
        vit_that(change=in_a_list),  # whose parameters nobody finds
        vit_that(change=no_class_position),
    ],
    "block_cost": [
        cost(class_token=0),
        cost(linear=3),
        cost(products=1),
        cost(heads=True),
        cost(mlp=1),
        cost(size=1),
        cost(size=8),
        cost(twice=2),
        lambda *sizes: cost()(*sizes)[0],
        lambda *sizes: tuple(map(float, cost()(*sizes))),
    ],
    "predict_shuffle": [
        lambda: dict.fromkeys("abcde", True),
        lambda: {"a": True, "b": False, "c": False, "d": False, "e": True},
        lambda: {"a": True, "b": True, "c": False, "d": True, "e": True},
        lambda: [True, False, False, True, True],
        lambda: {"a": True},
    ],
}
