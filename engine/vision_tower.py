"""The vision tower and projector of Qwen2.5-VL as one plain module that compilers take.

Differences to transformers' module, all exact: the patch embedding is folded for gray films, rows
arrive in window order, windowed attention is one batch of padded windows, and positions, windows
and the order of the output are inputs (`positions.VisionPlan`) instead of Python loops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_EPS = 1e-6


@dataclass(frozen=True)
class VisionConfig:
    """Sizes of the tower.

    Attributes:
        depth: Blocks.
        hidden_size: Width of a patch.
        intermediate_size: Width inside the gated MLP.
        num_heads: Attention heads.
        out_hidden_size: Width of a visual token.
        full_attention_blocks: Blocks that attend over the whole film; the others over a window.
        image_mean: Per channel, of intensities in 0..1.
        image_std: Per channel.
    """

    depth: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    out_hidden_size: int
    full_attention_blocks: tuple[int, ...]
    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]


class RMSNorm(nn.Module):
    """Root mean square norm, in fp32. Zhang and Sennrich 2019, arXiv 1910.07467."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))

    def forward(self, x: Tensor) -> Tensor:  # [N, D]
        """Normalise the last axis."""
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + _EPS) * self.weight


class GatedMLP(nn.Module):
    """SiLU-gated MLP with biases."""

    def __init__(self, size: int, intermediate: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(size, intermediate)
        self.up_proj = nn.Linear(size, intermediate)
        self.down_proj = nn.Linear(intermediate, size)

    def forward(self, x: Tensor) -> Tensor:  # [N, D]
        """Map each row."""
        gate = self.gate_proj(x)
        return self.down_proj(gate * torch.sigmoid(gate) * self.up_proj(x))


class Attention(nn.Module):
    """Attention with 2-D rotary positions, over windows or over the whole film."""

    def __init__(self, size: int, num_heads: int, *, is_full: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = size // num_heads
        self.is_full = is_full
        self.qkv = nn.Linear(size, 3 * size)
        self.proj = nn.Linear(size, size)

    def forward(
        self,
        x: Tensor,  # [N, D]
        cos: Tensor,  # [N, 1, head_dim]
        sin: Tensor,
        window_slots: Tensor,  # [W, S]
        window_bias: Tensor,  # [W, 1, 1, S]
        patch_slots: Tensor,  # [N]
    ) -> Tensor:
        """Attend and project back."""
        size = self.num_heads * self.head_dim
        query, key, value = (
            part.reshape(-1, self.num_heads, self.head_dim)
            for part in self.qkv(x).split(size, dim=-1)
        )
        query = _rotate(query, cos, sin) * self.head_dim**-0.5
        key = _rotate(key, cos, sin)
        if self.is_full:
            scores = query.transpose(0, 1) @ key.permute(1, 2, 0)  # [heads, N, N]
            mixed = (scores.softmax(-1) @ value.transpose(0, 1)).transpose(0, 1)
        else:
            query, key, value = (part[window_slots] for part in (query, key, value))
            # [W, heads, S, S]
            scores = query.transpose(1, 2) @ key.permute(0, 2, 3, 1) + window_bias
            mixed = (scores.softmax(-1) @ value.transpose(1, 2)).transpose(1, 2)
            mixed = mixed.reshape(-1, size)[patch_slots]
        return self.proj(mixed.reshape(-1, size))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: VisionConfig, *, is_full: bool) -> None:
        super().__init__()
        self.norm1 = RMSNorm(config.hidden_size)
        self.norm2 = RMSNorm(config.hidden_size)
        self.attn = Attention(config.hidden_size, config.num_heads, is_full=is_full)
        self.mlp = GatedMLP(config.hidden_size, config.intermediate_size)

    def forward(self, x: Tensor, *plan: Tensor) -> Tensor:
        """Add attention, then the MLP."""
        x = x + self.attn(self.norm1(x), *plan)
        return x + self.mlp(self.norm2(x))


class PatchMerger(nn.Module):
    """The projector: norm, 2 x 2 patches side by side, Linear, GELU, Linear."""

    def __init__(self, size: int, out_size: int) -> None:
        super().__init__()
        self.merged_size = 4 * size
        self.ln_q = RMSNorm(size)
        self.mlp = nn.Sequential(
            nn.Linear(self.merged_size, self.merged_size),
            nn.GELU(),
            nn.Linear(self.merged_size, out_size),
        )

    def forward(self, x: Tensor) -> Tensor:  # [N, D] -> [N / 4, out]
        """Merge and project."""
        return self.mlp(self.ln_q(x).reshape(-1, self.merged_size))


class VisionTower(nn.Module):
    """Gray patches in window order → visual tokens in merge order."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.patch_embed = nn.Linear(14 * 14, config.hidden_size)
        self.blocks = nn.ModuleList(
            Block(config, is_full=index in config.full_attention_blocks)
            for index in range(config.depth)
        )
        self.merger = PatchMerger(config.hidden_size, config.out_hidden_size)

    def forward(
        self,
        patches: Tensor,  # [N, 196]
        rotary_cos: Tensor,  # [N, head_dim]
        rotary_sin: Tensor,
        window_slots: Tensor,  # [W, S]
        window_bias: Tensor,  # [W, 1, 1, S]
        patch_slots: Tensor,  # [N]
        merge_order: Tensor,  # [N / 4]
    ) -> Tensor:  # [N / 4, out]
        """Run tower and projector."""
        x = self.patch_embed(patches)
        cos, sin = rotary_cos[:, None, :], rotary_sin[:, None, :]
        for block in self.blocks:
            x = block(x, cos, sin, window_slots, window_bias, patch_slots)
        return self.merger(x)[merge_order]


def build_vision_tower(
    config: VisionConfig, load: Callable[[str], Tensor], names: Sequence[str]
) -> VisionTower:
    """Build the tower in fp32 from a checkpoint's tensors.

    Args:
        config: Its sizes.
        load: Returns one tensor of the checkpoint by its name below the `visual.` prefix.
        names: The names of these tensors.
    """
    with torch.device("meta"):
        tower = VisionTower(config)
    weights = {name: load(name).float() for name in names if not name.startswith("patch_embed.")}
    weight, bias = fold_patch_embedding(
        load("patch_embed.proj.weight").float(), config.image_mean, config.image_std
    )
    weights |= {"patch_embed.weight": weight, "patch_embed.bias": bias}
    tower.load_state_dict(weights, strict=True, assign=True)
    return tower.eval().requires_grad_(False)


def fold_patch_embedding(
    weight: Tensor, mean: Sequence[float], std: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Fold channels, time and normalisation of the patch embedding into one gray patch.

    A gray film repeats one patch in three channels `(p - mean_c) / std_c` and two time steps, so

        W_gray[o, p] = sum_c sum_t W[o, c, t, p] / std_c
        b[o] = - sum_c mean_c / std_c * sum_t sum_p W[o, c, t, p]

    Args:
        weight: Conv3d weight `[D, 3, 2, 14, 14]`.
        mean: Per channel.
        std: Per channel.

    Returns:
        Weight `[D, 196]` and bias `[D]` for gray intensities in 0..1.
    """
    per_channel = weight.double().sum(dim=2).flatten(2)  # [D, 3, 196]
    scale = 1.0 / torch.tensor(std, dtype=torch.float64)
    shift = torch.tensor(mean, dtype=torch.float64) * scale
    folded = torch.einsum("dcp,c->dp", per_channel, scale)
    bias = -torch.einsum("dcp,c->d", per_channel, shift)
    return folded.float(), bias.float()


def read_vision_config(fields: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> VisionConfig:
    """Read the sizes from a checkpoint's `vision_config` and `preprocessor_config.json`."""
    return VisionConfig(
        depth=fields["depth"],
        hidden_size=fields["hidden_size"],
        intermediate_size=fields["intermediate_size"],
        num_heads=fields["num_heads"],
        out_hidden_size=fields["out_hidden_size"],
        full_attention_blocks=tuple(fields["fullatt_block_indexes"]),
        image_mean=tuple(preprocessor["image_mean"]),
        image_std=tuple(preprocessor["image_std"]),
    )


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # [N, heads, head_dim]
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
