"""The Vision Transformer, written from the paper; it takes torchvision's weights.

"An Image is Worth 16x16 Words" (Dosovitskiy et al., 2021, https://arxiv.org/abs/2010.11929): equations 1 to 4 of
section 3.1, attention from appendix A, sizes from table 1.

    model = VisionTransformer(**BASE, patch_size=16, image_size=224, num_classes=3)
    logits = model(images)
    logits, attention = model(images, return_attention=True)
    tokens = model.tokens(images, after=6)  # what the first six blocks make of them
    model = from_torchvision(torchvision.models.vit_b_16(weights="DEFAULT"))

In shapes B is images, N patches, T = N + 1 tokens (the class token comes first), D the width of a token, h heads.
"""

import copy
import math

import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchvision.models.vision_transformer import interpolate_embeddings
from torchvision.ops import StochasticDepth

from going_modular.common.errors import InputError

# table 1; ViT-B/16 is BASE with 16x16 patches
BASE = {"num_layers": 12, "hidden_dim": 768, "mlp_dim": 3072, "num_heads": 12}
LARGE = {"num_layers": 24, "hidden_dim": 1024, "mlp_dim": 4096, "num_heads": 16}
HUGE = {"num_layers": 32, "hidden_dim": 1280, "mlp_dim": 5120, "num_heads": 16}
SMALL = {"num_layers": 12, "hidden_dim": 384, "mlp_dim": 1536, "num_heads": 6}  # Touvron et al., 2021, arXiv:2012.12877
# what the head reads: the class token, or beside it the mean of the patches, twice as wide
POOLINGS = {"class": 1, "class+mean": 2}


class PatchEmbedding(nn.Module):
    """Cut images into patches, flatten each and multiply it by E (equation 1).

    A convolution whose stride is its kernel does all three.
    """

    def __init__(self, *, in_channels: int, patch_size: int, hidden_dim: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, hidden_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, C, H, W) to embedded patches (B, N, D), row by row."""
        return self.projection(images).flatten(2).transpose(1, 2)  # (B, D, H/P, W/P) -> (B, N, D)


class SelfAttention(nn.Module):
    """Multi-head self-attention (appendix A, equations 5 to 8): each token takes from all tokens what it looks for."""

    def __init__(self, *, hidden_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if hidden_dim % num_heads:
            raise InputError(f"hidden_dim {hidden_dim} cannot be shared by num_heads {num_heads}; make it a multiple")
        self.num_heads = num_heads
        self.dropout = dropout
        self.qkv = nn.Linear(hidden_dim, 3 * hidden_dim)  # U_qkv of equation 5, all heads side by side
        self.projection = nn.Linear(hidden_dim, hidden_dim)  # U_msa of equation 8

    def forward(
        self, tokens: torch.Tensor, mask: torch.Tensor | None = None, *, return_attention: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map tokens (B, T, D) to tokens (B, T, D) and, if asked, the attention (B, h, T, T), rows summing to 1."""
        qkv = self.qkv(tokens).unflatten(2, (3, self.num_heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (B, T, 3, h, D/h) -> 3 of (B, h, T, D/h)
        dropout = self.dropout if self.training else 0.0
        attention = None
        if return_attention or _fused_is_slower(query):
            scores = (query / math.sqrt(query.shape[3])) @ key.transpose(2, 3)  # by the root of a head's width, not D's
            if mask is not None:
                scores = scores.masked_fill(~mask, -math.inf)
            attention = scores.softmax(dim=3)  # equation 6
            mixed = F.dropout(attention, dropout) @ value  # equation 7
        else:  # the same, fused: the scores never lie in memory
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        tokens = self.projection(mixed.transpose(1, 2).flatten(2))  # (B, h, T, D/h) -> (B, T, D)
        return tokens, (attention if return_attention else None)


class LayerScale(nn.Module):
    """Multiply each of a token's D numbers by a learned one (Touvron et al., 2021, https://arxiv.org/abs/2103.17239)."""

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(hidden_dim))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens (B, T, D) to tokens (B, T, D)."""
        return tokens * self.scale


class EncoderBlock(nn.Module):
    """Attention, then an MLP, each on normalised tokens and added to what came in (equations 2 and 3)."""

    def __init__(
        self,
        *,
        hidden_dim: int,
        mlp_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        layer_scale: bool = False,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(hidden_dim, eps=1e-6)
        self.attention = SelfAttention(hidden_dim=hidden_dim, num_heads=num_heads, dropout=attention_dropout)
        self.dropout = nn.Dropout(dropout)
        self.mlp_norm = nn.LayerNorm(hidden_dim, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(hidden_dim, mlp_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, hidden_dim),
            nn.Dropout(dropout),
        )
        self.drop_path = StochasticDepth(stochastic_depth, mode="row")
        self.attention_scale, self.mlp_scale = (
            LayerScale(hidden_dim) if layer_scale else nn.Identity() for _ in range(2)
        )

    def forward(
        self, tokens: torch.Tensor, mask: torch.Tensor | None = None, *, return_attention: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map tokens (B, T, D) to tokens (B, T, D) and, if asked, the attention (B, h, T, T)."""
        mixed, attention = self.attention(self.attention_norm(tokens), mask, return_attention=return_attention)
        tokens = tokens + self.drop_path(self.attention_scale(self.dropout(mixed)))  # equation 2
        tokens = tokens + self.drop_path(self.mlp_scale(self.mlp(self.mlp_norm(tokens))))  # equation 3
        return tokens, attention


class VisionTransformer(nn.Module):
    """A classifier of square images that reads them as a sequence of patches.

    Args:
        image_size: the side of the images, in pixels.
        patch_size: the side of a patch, in pixels; it divides the image size.
        in_channels: 3 for colour images; the channels of a feature map in the hybrid.
        num_layers: encoder blocks.
        hidden_dim: D, the width of a token; a multiple of the heads.
        mlp_dim: the width inside the MLPs.
        num_heads: attention heads in each block.
        num_classes: the width of the output.
        dropout: on the tokens that enter and on what each block adds.
        attention_dropout: on attention.
        stochastic_depth: probability with which the last block's attention, or its MLP, is left out for an image in
            training; in earlier blocks less, in proportion.
        layer_scale: scale what each block adds, as DINOv2 does.
        pooling: what the head reads, `class` or `class+mean`: see `POOLINGS`.

    Raises:
        InputError: sizes that do not go together, or no such pooling.
    """

    def __init__(
        self,
        *,
        image_size: int,
        patch_size: int,
        num_layers: int,
        hidden_dim: int,
        mlp_dim: int,
        num_heads: int,
        num_classes: int,
        in_channels: int = 3,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        layer_scale: bool = False,
        pooling: str = "class",
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise InputError(f"Unknown pooling {pooling!r}; choose one of {', '.join(POOLINGS)}")
        self.image_size, self.pooling = image_size, pooling
        self.grid = _grid(image_size, patch_size)  # patches a side
        self.patch_embedding = PatchEmbedding(in_channels=in_channels, patch_size=patch_size, hidden_dim=hidden_dim)
        self.class_token = nn.Parameter(torch.zeros(1, 1, hidden_dim))
        self.position_embedding = nn.Parameter(torch.zeros(1, self.grid**2 + 1, hidden_dim))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            EncoderBlock(
                hidden_dim=hidden_dim,
                mlp_dim=mlp_dim,
                num_heads=num_heads,
                dropout=dropout,
                attention_dropout=attention_dropout,
                stochastic_depth=stochastic_depth * i / max(num_layers - 1, 1),
                layer_scale=layer_scale,
            )
            for i in range(num_layers)
        )
        self.norm = nn.LayerNorm(hidden_dim, eps=1e-6)
        self.head = nn.Linear(hidden_dim * POOLINGS[pooling], num_classes)
        self._initialise()

    def forward(
        self, images: torch.Tensor, *, mask: torch.Tensor | None = None, return_attention: bool = False
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Map images (B, C, H, W) to logits (B, num_classes).

        Args:
            images: of the model's image size, normalised as its weights want.
            mask: (T, T) of bool, true where the row's token may look at the column's; by default everywhere.
            return_attention: return the attention, too: (layers, B, h, T, T), each row summing to 1.

        Raises:
            InputError: images or a mask of another size.
        """
        tokens, attentions = self._encode(images, self.blocks, mask, return_attention)
        if self.pooling == "class":
            features = self.norm(tokens[:, 0])  # equation 4: the class token stands for the image
        else:
            tokens = self.norm(tokens)
            features = torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1)
        logits = self.head(features)
        return (logits, torch.stack(attentions)) if return_attention else logits

    def tokens(self, images: torch.Tensor, *, after: int | None = None) -> torch.Tensor:
        """Map images (B, C, H, W) to the normalised tokens (B, T, D) that the blocks make of them.

        Args:
            images: as for `forward`.
            after: how many blocks, from 0; by default all. After all of them the model's last norm normalises, before
                it one without weights.

        Raises:
            InputError: images of another size, or the model has fewer blocks.
        """
        after = len(self.blocks) if after is None else after
        if not 0 <= after <= len(self.blocks):
            raise InputError(f"Tokens after block {after}; this model has {len(self.blocks)} blocks")
        tokens, _ = self._encode(images, self.blocks[:after], None, False)
        return self.norm(tokens) if after == len(self.blocks) else F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)

    def _encode(
        self, images: torch.Tensor, blocks: nn.ModuleList, mask: torch.Tensor | None, return_attention: bool
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        """Return the tokens (B, T, D) after some blocks, and the attention in each if asked."""
        self._check(images, mask)
        class_tokens = self.class_token.expand(images.shape[0], -1, -1)  # len() would fix it in an export
        tokens = torch.cat([class_tokens, self.patch_embedding(images)], dim=1)
        tokens = self.dropout(tokens + self.position_embedding)  # equation 1
        attentions = []
        for block in blocks:
            tokens, attention = block(tokens, mask, return_attention=return_attention)
            attentions.append(attention)
        return tokens, attentions

    def _initialise(self) -> None:
        """Draw the first weights as the authors do (https://github.com/google-research/vision_transformer)."""
        fan_in = self.patch_embedding.projection.weight[0].numel()
        nn.init.trunc_normal_(self.patch_embedding.projection.weight, std=math.sqrt(1 / fan_in))
        nn.init.zeros_(self.patch_embedding.projection.bias)
        nn.init.normal_(self.position_embedding, std=0.02)
        for block in self.blocks:
            for kernel in [*block.attention.qkv.weight.chunk(3), block.attention.projection.weight]:
                nn.init.xavier_uniform_(kernel)
            nn.init.zeros_(block.attention.qkv.bias)
            nn.init.zeros_(block.attention.projection.bias)
            for layer in (block.mlp[0], block.mlp[3]):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.normal_(layer.bias, std=1e-6)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def _check(self, images: torch.Tensor, mask: torch.Tensor | None) -> None:
        size = (self.image_size, self.image_size)
        if images.dim() != 4 or images.shape[2:] != size:
            raise InputError(f"Images of shape {tuple(images.shape)}; this model takes (B, C, {size[0]}, {size[1]})")
        tokens = self.grid**2 + 1
        if mask is not None and (mask.shape != (tokens, tokens) or mask.dtype != torch.bool):
            raise InputError(f"A mask of {mask.dtype} {tuple(mask.shape)}; this model takes bool ({tokens}, {tokens})")


def local_window_mask(grid: int, k: int) -> torch.Tensor:
    """Return a mask that lets each patch see the k x k patches around it, and the class token.

    Args:
        grid: patches a side.
        k: the side of the window, odd.

    Returns:
        (T, T) of bool, T = grid**2 + 1. The class token, first, sees every token and is seen by every token.

    Raises:
        InputError: k is even or less than 1.
    """
    if k < 1 or k % 2 == 0:
        raise InputError(f"A window of k = {k} has no patch in its middle; take an odd number")
    position = torch.arange(grid)
    near = ((position[:, None] - position).abs() <= k // 2).int()  # (grid, grid), along one side
    window = torch.kron(near, near).bool()  # near in rows and near in columns
    return F.pad(window, (1, 0, 1, 0), value=True)


def from_torchvision(
    model: torchvision.models.VisionTransformer, *, image_size: int | None = None
) -> VisionTransformer:
    """Build ours with the weights and the head of a torchvision ViT: the same logits, the same gradients.

    Args:
        model: such as `torchvision.models.vit_b_16(weights="DEFAULT")`; copied, left as it is.
        image_size: of ours, in pixels, by default the model's. Position embeddings are then interpolated
            (torchvision's `interpolate_embeddings`, bicubic).

    Raises:
        InputError: an image size that the patch does not divide, or a ViT with a convolutional stem.
    """
    if not isinstance(model.conv_proj, nn.Conv2d) or model.representation_size is not None:
        raise InputError("This ViT has a convolutional stem or a second layer in its head; take one of table 1's")
    image_size = image_size or model.image_size
    _grid(image_size, model.patch_size)  # raises if they do not fit
    # torchvision names the last layer; who replaces `heads` may put anything in its place
    head = model.heads.head if list(dict(model.heads.named_children())) == ["head"] else model.heads
    with torch.device("meta"):  # nothing is drawn from the random generator
        ours = VisionTransformer(
            image_size=image_size,
            patch_size=model.patch_size,
            num_layers=len(model.encoder.layers),
            hidden_dim=model.hidden_dim,
            mlp_dim=model.mlp_dim,
            num_heads=model.encoder.layers[0].num_heads,
            num_classes=1,
            dropout=model.dropout,
            attention_dropout=model.attention_dropout,
        )
    theirs = interpolate_embeddings(image_size, model.patch_size, model.state_dict())
    body = {_our_name(name): tensor.clone() for name, tensor in theirs.items() if not name.startswith("heads.")}
    ours.head = nn.Identity()
    ours.load_state_dict(body, assign=True)
    ours.head = copy.deepcopy(head).requires_grad_()
    return ours.train(model.training)


def _fused_is_slower(query: torch.Tensor) -> bool:
    """Tell where plain products are faster: in bf16 on a CPU; with gradients, memory counts for more."""
    return query.device.type == "cpu" and query.dtype == torch.bfloat16 and not torch.is_grad_enabled()


# torchvision's names and ours
_RENAMED = {
    "conv_proj": "patch_embedding.projection",
    "encoder.pos_embedding": "position_embedding",
    "encoder.layers.encoder_layer_": "blocks.",
    "encoder.ln": "norm",
    "heads.head": "head",
    "ln_1": "attention_norm",
    "ln_2": "mlp_norm",
    "self_attention.in_proj_": "attention.qkv.",
    "self_attention.out_proj": "attention.projection",
}


def _our_name(name: str) -> str:
    for theirs, ours in _RENAMED.items():
        name = name.replace(theirs, ours)
    return name


def _grid(image_size: int, patch_size: int) -> int:
    """Return how many patches make a side."""
    if image_size < 1 or image_size % patch_size:
        raise InputError(f"Images of {image_size} pixels cannot be cut into patches of {patch_size}; take a multiple")
    return image_size // patch_size
