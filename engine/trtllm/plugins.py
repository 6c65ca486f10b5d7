"""Our kernels as TensorRT quick-deploy plugins, compiled ahead of time.

Importing this module registers them. TensorRT keeps their PTX in the engine, which then needs
neither Python nor Triton to run.

    cxr::projector_fc1   x, norm_weight, weight, bias, merge_order → hidden, inverse_order
    cxr::projector_fc2   hidden, weight, bias, inverse_order → tokens
    cxr::preprocess      pixels, table, filter taps, slots → patches

Kernels and shapes: `kernels/projector` and `kernels/preprocess`. TensorRT has no uint16: stored
pixels are bound as FP16 and only their bits are used.

Source: NVIDIA TensorRT documentation, "Quickly Deployable Plugins", and its sample of that name.
"""

# TensorRT reads the annotations below as objects, so they must not be strings.

from typing import Any, List, Tuple, Union  # noqa: UP035

import tensorrt.plugin as trtp

from cxr_reason.engine.trtllm.plugin_kernels import (
    PluginKernel,
    compile_fc1,
    compile_fc2,
    compile_preprocess,
    find_configs,
)
from cxr_reason.kernels.preprocess.geometry import PATCH_SIZE
from cxr_reason.kernels.preprocess.triton_kernel import BLOCKS
from cxr_reason.kernels.projector.reference import PATCHES_PER_TOKEN

NAMESPACE = "cxr"

# What `aot_impl` returns: entry, code, launch parameters, integers between inputs and outputs.
Aot = Tuple[Union[str, bytes], Union[str, bytes], trtp.KernelLaunchParams, trtp.SymExprs]  # noqa: UP006, UP007
Outputs = Tuple[trtp.TensorDesc]  # noqa: UP006
Combinations = List[trtp.AutoTuneCombination]  # noqa: UP006


def find_arch() -> int:
    """Return the compute capability of the GPU that the engine is built on, 90 for 9.0."""
    import torch

    major, minor = torch.cuda.get_device_capability()
    return 10 * major + minor


@trtp.register("cxr::projector_fc1")
def fc1_desc(
    x: trtp.TensorDesc,
    norm_weight: trtp.TensorDesc,
    weight: trtp.TensorDesc,
    bias: trtp.TensorDesc,
    merge_order: trtp.TensorDesc,
) -> Tuple[trtp.TensorDesc, trtp.TensorDesc]:  # noqa: UP006
    """Describe `hidden` [T, 4 D] and `inverse_order` [T], int32."""
    hidden = x.like()
    hidden.shape_expr[0] = merge_order.shape_expr[0]
    hidden.shape_expr[1] = weight.shape_expr[0]
    inverse_order = merge_order.like()
    inverse_order.dtype = _int32()
    return hidden, inverse_order


@trtp.autotune("cxr::projector_fc1")
def fc1_autotune(
    x: trtp.TensorDesc,
    norm_weight: trtp.TensorDesc,
    weight: trtp.TensorDesc,
    bias: trtp.TensorDesc,
    merge_order: trtp.TensorDesc,
    outputs: Outputs,
) -> Combinations:
    """One combination of types, a tactic for each choice of block sizes."""
    choices = find_configs("fc1", x.shape[1], weight.shape[0])
    types = "BF16, BF16, BF16, BF16, INT64, BF16, INT32"
    return [trtp.AutoTuneCombination(types, "LINEAR", list(range(1, len(choices) + 1)))]


@trtp.aot_impl("cxr::projector_fc1")
def fc1_aot(
    x: trtp.TensorDesc,
    norm_weight: trtp.TensorDesc,
    weight: trtp.TensorDesc,
    bias: trtp.TensorDesc,
    merge_order: trtp.TensorDesc,
    outputs: Outputs,
    tactic: int,
) -> Aot:
    """Compile the kernel with the block sizes of a tactic."""
    size, width = x.shape[1], weight.shape[0]
    blocks = find_configs("fc1", size, width)[max(tactic, 1) - 1]
    kernel = compile_fc1(find_arch(), size, blocks)
    tokens = merge_order.shape_expr[0]
    grid = (trtp.cdiv(tokens, blocks.block_t), width // blocks.block_n)
    return _pack(kernel, grid, [tokens])


@trtp.register("cxr::projector_fc2")
def fc2_desc(
    hidden: trtp.TensorDesc,
    weight: trtp.TensorDesc,
    bias: trtp.TensorDesc,
    inverse_order: trtp.TensorDesc,
) -> trtp.TensorDesc:
    """Describe the visual tokens [T, out]."""
    tokens = hidden.like()
    tokens.shape_expr[1] = weight.shape_expr[0]
    return tokens


@trtp.autotune("cxr::projector_fc2")
def fc2_autotune(
    hidden: trtp.TensorDesc,
    weight: trtp.TensorDesc,
    bias: trtp.TensorDesc,
    inverse_order: trtp.TensorDesc,
    outputs: Outputs,
) -> Combinations:
    """One combination of types, a tactic for each choice of block sizes."""
    choices = find_configs("fc2", hidden.shape[1], weight.shape[0])
    types = "BF16, BF16, BF16, INT32, BF16"
    return [trtp.AutoTuneCombination(types, "LINEAR", list(range(1, len(choices) + 1)))]


@trtp.aot_impl("cxr::projector_fc2")
def fc2_aot(
    hidden: trtp.TensorDesc,
    weight: trtp.TensorDesc,
    bias: trtp.TensorDesc,
    inverse_order: trtp.TensorDesc,
    outputs: Outputs,
    tactic: int,
) -> Aot:
    """Compile the kernel with the block sizes of a tactic."""
    width, out_size = hidden.shape[1], weight.shape[0]
    blocks = find_configs("fc2", width, out_size)[max(tactic, 1) - 1]
    kernel = compile_fc2(find_arch(), width // PATCHES_PER_TOKEN, out_size, blocks)
    tokens = hidden.shape_expr[0]
    grid = (trtp.cdiv(tokens, blocks.block_t), out_size // blocks.block_n)
    return _pack(kernel, grid, [tokens])


@trtp.register("cxr::preprocess")
def preprocess_desc(
    pixels: trtp.TensorDesc,
    table: trtp.TensorDesc,
    row_starts: trtp.TensorDesc,
    row_weights: trtp.TensorDesc,
    column_starts: trtp.TensorDesc,
    column_weights: trtp.TensorDesc,
    slots: trtp.TensorDesc,
) -> trtp.TensorDesc:
    """Describe the patches [N, 196], float32."""
    patches = row_weights.like()
    patches.dtype = table.dtype
    patches.shape_expr[0] = slots.shape_expr[0]
    patches.shape_expr[1] = trtp.ShapeExpr(PATCH_SIZE**2)
    return patches


@trtp.autotune("cxr::preprocess")
def preprocess_autotune(
    pixels: trtp.TensorDesc,
    table: trtp.TensorDesc,
    row_starts: trtp.TensorDesc,
    row_weights: trtp.TensorDesc,
    column_starts: trtp.TensorDesc,
    column_weights: trtp.TensorDesc,
    slots: trtp.TensorDesc,
    outputs: Outputs,
) -> Combinations:
    """One combination of types and one tactic."""
    types = "FP16, FP32, INT32, INT32, INT32, INT32, INT32, FP32"
    return [trtp.AutoTuneCombination(types, "LINEAR", [1])]


@trtp.aot_impl("cxr::preprocess")
def preprocess_aot(
    pixels: trtp.TensorDesc,
    table: trtp.TensorDesc,
    row_starts: trtp.TensorDesc,
    row_weights: trtp.TensorDesc,
    column_starts: trtp.TensorDesc,
    column_weights: trtp.TensorDesc,
    slots: trtp.TensorDesc,
    outputs: Outputs,
    tactic: int,
) -> Aot:
    """Compile the kernel."""
    grid_height = row_starts.shape_expr[0] // PATCH_SIZE
    grid_width = column_starts.shape_expr[0] // PATCH_SIZE
    grid = (
        trtp.cdiv(grid_width, BLOCKS[0].tile_w // PATCH_SIZE),
        trtp.cdiv(grid_height, BLOCKS[0].tile_h // PATCH_SIZE),
    )
    integers = [
        pixels.shape_expr[1],
        table.shape_expr[0],
        row_weights.shape_expr[1],
        column_weights.shape_expr[1],
        grid_height,
        grid_width,
    ]
    return _pack(compile_preprocess(find_arch()), grid, integers)


def _pack(kernel: PluginKernel, grid: Tuple[Any, Any], integers: List[Any]) -> Any:  # noqa: UP006
    launch = trtp.KernelLaunchParams()
    launch.grid_x, launch.grid_y = grid
    launch.block_x = kernel.num_threads
    launch.shared_mem = kernel.shared_bytes
    extra = trtp.SymIntExprs(len(integers))
    for index, value in enumerate(integers):
        extra[index] = trtp.SymInt32(value)
    return kernel.name, kernel.ptx, launch, extra


def _int32() -> Any:
    import tensorrt as trt

    return trt.DataType.INT32
