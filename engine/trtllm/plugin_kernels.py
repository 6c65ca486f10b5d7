"""The kernels of the TensorRT plugins, compiled to PTX: what `plugins` hands to TensorRT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cxr_reason.engine.trtllm.triton_kernel import (
    fc1_plugin_kernel,
    fc2_plugin_kernel,
    preprocess_plugin_kernel,
)
from cxr_reason.kernels.aot.compile import compile_function
from cxr_reason.kernels.preprocess.triton_kernel import BLOCKS, NUM_STAGES
from cxr_reason.kernels.projector.reference import EPS, PATCHES_PER_TOKEN
from cxr_reason.kernels.projector.triton_kernel import CONFIGS, fitting_configs
from cxr_reason.kernels.projector.tuning import BlockConfig


@dataclass(frozen=True)
class PluginKernel:
    """One kernel for TensorRT.

    Attributes:
        name: Entry symbol.
        ptx: Its code.
        num_threads: Threads of a block.
        shared_bytes: Dynamic shared memory of a block.
        num_parameters: Parameters of the entry, Triton's own at the end included.
    """

    name: str
    ptx: str
    num_threads: int
    shared_bytes: int
    num_parameters: int


def find_configs(kernel: str, depth: int, columns: int) -> tuple[BlockConfig, ...]:
    """Return the block sizes of the projector's kernel "fc1" or "fc2" that fit; the default first.

    TensorRT measures all of them as tactics 1, 2, … and keeps the fastest.
    """
    configs, default = CONFIGS[kernel]
    fitting = fitting_configs(configs, depth, columns)
    return tuple(sorted(fitting, key=lambda config: config != default))


def compile_fc1(arch: int, size: int, config: BlockConfig) -> PluginKernel:
    """Compile the projector's first kernel for bfloat16.

    Args:
        arch: Compute capability, 90 for 9.0.
        size: Width of a patch.
        config: Block sizes.
    """
    tensors = dict.fromkeys(("x", "norm_weight", "weight", "bias"), "*bf16")
    arguments = {
        **tensors,
        "merge_order": "*i64",
        "T": "i32",
        "hidden": "*bf16",
        "inverse_order": "*i32",
    }
    constants = {"D": size, "EPSILON": EPS, **_block_sizes(config)}
    return _compile(
        fc1_plugin_kernel, arguments, constants, arch, config.num_warps, config.num_stages
    )


def compile_fc2(arch: int, size: int, out_size: int, config: BlockConfig) -> PluginKernel:
    """Compile the projector's second kernel for bfloat16; `out_size` is the width of a token."""
    arguments = {
        **dict.fromkeys(("hidden", "weight", "bias"), "*bf16"),
        "inverse_order": "*i32",
        "T": "i32",
        "out": "*bf16",
    }
    constants = {"H": PATCHES_PER_TOKEN * size, "OUT": out_size, **_block_sizes(config)}
    return _compile(
        fc2_plugin_kernel, arguments, constants, arch, config.num_warps, config.num_stages
    )


def compile_preprocess(arch: int) -> PluginKernel:
    """Compile the preprocessing kernel for float32 patches."""
    arguments = {
        "pixels_ptr": "*u16",
        "table_ptr": "*fp32",
        **dict.fromkeys(("row_starts_ptr", "row_weights_ptr"), "*i32"),
        **dict.fromkeys(("column_starts_ptr", "column_weights_ptr", "slots_ptr"), "*i32"),
        **dict.fromkeys(("width", "entries", "row_taps", "column_taps"), "i32"),
        **dict.fromkeys(("grid_height", "grid_width"), "i32"),
        "patches_ptr": "*fp32",
    }
    constants = {"HAS_SLOTS": True, "SPLIT_LIGHT": True, **BLOCKS[0].constexprs}
    return _compile(
        preprocess_plugin_kernel, arguments, constants, arch, BLOCKS[0].num_warps, NUM_STAGES
    )


def _compile(
    fn: Any,
    arguments: Mapping[str, str],
    constants: Mapping[str, Any],
    arch: int,
    num_warps: int,
    num_stages: int,
) -> PluginKernel:
    compiled = compile_function(
        fn,
        {**arguments, **dict.fromkeys(constants, "constexpr")},
        constants,
        # TensorRT's buffers begin at multiples of 256 bytes.
        [name for name, kind in arguments.items() if kind.startswith("*")],
        arch=arch,
        num_warps=num_warps,
        num_stages=num_stages,
    )
    metadata, ptx = compiled.metadata, str(compiled.asm["ptx"])
    entry = ptx[ptx.index(".entry") :]
    return PluginKernel(
        name=str(metadata.name),
        ptx=ptx,
        num_threads=32 * int(metadata.num_warps),
        shared_bytes=int(metadata.shared),
        num_parameters=entry[: entry.index("{")].count(".param"),
    )


def _block_sizes(config: BlockConfig) -> dict[str, int]:
    return {"BT": config.block_t, "BN": config.block_n, "BK": config.block_k}
