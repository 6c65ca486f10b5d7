"""Random inputs of the op and the error a kernel may have: for tests and benchmarks."""

from __future__ import annotations

import torch
from torch import Tensor

from cxr_reason.kernels.projector.reference import PATCHES_PER_TOKEN, projector_reference

# Patch width and token width.
SHAPES = {"3b": (1280, 2048), "nano": (192, 256)}
# Half the distance from 1 to the next number.
ROUNDING = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}


def make_inputs(
    num_patches: int,
    size: int,
    out_size: int,
    dtype: torch.dtype,
    *,
    seed: int,
    device: str = "cpu",
) -> dict[str, Tensor]:
    """Draw arguments of `projector`, all but the backend.

    Patches differ in scale by three orders of magnitude, so that a norm taken over wrong rows
    shows; weights keep activations near 1.
    """
    generator = torch.Generator(device).manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device)

    width = PATCHES_PER_TOKEN * size
    tokens = num_patches // PATCHES_PER_TOKEN
    inputs = {
        "x": normal(num_patches, size) * torch.exp(1.5 * normal(num_patches, 1)),
        "norm_weight": 1 + 0.3 * normal(size),
        "fc1_weight": normal(width, width) / width**0.5,
        "fc1_bias": 0.1 * normal(width),
        "fc2_weight": normal(out_size, width) / width**0.5,
        "fc2_bias": 0.1 * normal(out_size),
    }
    order = torch.randperm(tokens, generator=generator, device=device)
    return {**{name: tensor.to(dtype) for name, tensor in inputs.items()}, "merge_order": order}


def compute_exact(inputs: dict[str, Tensor]) -> Tensor:
    """Return the op of these inputs in float32."""
    wide = {name: t.float() if t.is_floating_point() else t for name, t in inputs.items()}
    order = wide.pop("merge_order", None)
    return projector_reference(**wide, merge_order=order)


def find_error(result: Tensor, exact: Tensor) -> str | None:
    """Compare a kernel's result with the op in float32; None if it is as near as it can be.

    A kernel rounds three times to its dtype: norm times weight, hidden activation, result. With u
    half the distance from 1 to the next number, each adds a relative error of about 0.4 u (root
    mean square), together 0.75 u (measured: 0.64 to 0.9); 1.25 u are allowed. A single element may
    be off by its own rounding and by 6 u of the typical element, ten standard deviations of the
    other two (measured: 3 u).
    """
    u = ROUNDING[result.dtype]
    if result.shape != exact.shape:
        return f"shape is {tuple(result.shape)}, not {tuple(exact.shape)}"
    wide = result.float()
    if not wide.isfinite().all():
        index = (~wide.isfinite()).nonzero()[0].tolist()
        return f"{int((~wide.isfinite()).sum())} elements are not finite, the first at {index}"
    typical = exact.square().mean().sqrt()
    error = (wide - exact).abs()
    ratio = float(error.square().mean().sqrt() / typical)
    if ratio > 1.25 * u:
        return f"error is {ratio:.2e} of the result, {1.25 * u:.2e} are allowed"
    excess = error - (u * exact.abs() + 6 * u * typical)
    if excess.max() > 0:
        row, column = divmod(int(excess.argmax()), exact.shape[1])
        return f"element [{row}, {column}] is {wide[row, column]}, not {exact[row, column]}"
    return None
