"""Wrong answers to the exercises of notebook 04 that a learner might give."""

import math

import torch
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


def changed(change):
    def make(grid, k):
        mask = vit.local_window_mask(grid, k)
        change(mask)
        return mask

    return make


def window(near):
    def make(grid, k):
        patch = torch.arange(grid**2)
        down = (patch[:, None] // grid - patch // grid).abs()
        across = (patch[:, None] % grid - patch % grid).abs()
        return F.pad(near(down, across, patch, k), (1, 0, 1, 0), value=True)

    return make


def parameters(*, biases=1, class_position=1, norms=2, last_norm=1, heads=1, class_token=1):
    def count(image_size, patch_size, num_layers, hidden_dim, mlp_dim, num_classes):
        d, m = hidden_dim, mlp_dim
        patches = (image_size // patch_size) ** 2
        block = norms * 2 * d + heads * (4 * d * d + 4 * d * biases) + 2 * d * m + (d + m) * biases
        embedding = 3 * patch_size**2 * d + d * biases + class_token * d + (patches + class_position) * d
        return embedding + num_layers * block + last_norm * 2 * d + (d + biases) * num_classes

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
    ],
    "local_window_mask": [
        lambda grid, k: vit.local_window_mask(grid, k)[1:, 1:],
        lambda grid, k: vit.local_window_mask(grid, k).float(),
        lambda grid, k: ~vit.local_window_mask(grid, k),
        changed(lambda mask: mask[0, 1:].fill_(False)),
        changed(lambda mask: mask[1:, 0].fill_(False)),
        window(lambda down, across, patch, k: (down <= k) & (across <= k)),
        window(lambda down, across, patch, k: (down < k // 2) & (across < k // 2)),
        window(lambda down, across, patch, k: (down <= k // 2) | (across <= k // 2)),
        window(lambda down, across, patch, k: (patch[:, None] - patch).abs() <= k // 2),  # along the sequence
        window(lambda down, across, patch, k: down + across <= k // 2),  # a diamond
    ],
    "count": [
        parameters(biases=0),
        parameters(class_position=0),
        parameters(class_token=0),
        parameters(norms=1),
        parameters(last_norm=0),
        parameters(heads=4),
    ],
}
