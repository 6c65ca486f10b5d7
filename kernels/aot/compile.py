"""Compile every kernel variant to cubin and PTX. Needs triton and torch, but no GPU.

python -m cxr_reason.kernels.aot.compile --arch 90 100 --output DIR
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import sm_arch_from_capability
from triton.compiler import ASTSource

from cxr_reason.kernels.aot.manifest import (
    FORMAT_VERSION,
    CompiledKernel,
    File,
    KernelManifest,
    digest,
)
from cxr_reason.kernels.aot.variants import KernelVariant, all_variants

# Architecture → oldest PTX ISA that knows it (8.0 for all before 10.0), so that drivers from CUDA
# 12.0 on can compile the PTX. Triton's default is the newest of its own assembler:
# https://docs.nvidia.com/cuda/parallel-thread-execution/index.html#release-notes
PTX_VERSIONS = {80: 80, 86: 80, 89: 80, 90: 80, 100: 86, 120: 87}

_ENTRY = re.compile(r"\.visible \.entry (?P<name>\w+)\((?P<parameters>[^)]*)\)")


def compile_kernels(
    variants: Iterable[KernelVariant], archs: Sequence[int], output: Path
) -> KernelManifest:
    """Compile variants and write files and manifest. The same input gives the same bytes.

    Args:
        variants: What to compile.
        archs: Compute capabilities, 90 for 9.0; keys of `PTX_VERSIONS`.
        output: Folder, made if need be.

    Raises:
        ValueError: An unknown architecture, triton in its interpreter's mode, or a kernel with
            scratch memory or parameters that the loader could not pass.
    """
    if unknown := sorted(set(archs) - set(PTX_VERSIONS)):
        raise ValueError(f"architectures {unknown}: known are {sorted(PTX_VERSIONS)}")
    if triton.knobs.runtime.interpret:
        raise ValueError("TRITON_INTERPRET is set: unset it, the interpreter compiles nothing")
    output.mkdir(parents=True, exist_ok=True)
    with _reproducible():
        kernels = [
            compile_kernel(variant, arch, output)
            for variant in sorted(variants, key=lambda variant: variant.name)
            for arch in sorted(set(archs))
        ]
    manifest = KernelManifest(FORMAT_VERSION, triton.__version__, tuple(kernels))
    manifest.write(output)
    return manifest


@contextmanager
def _reproducible() -> Iterator[None]:
    """Leave paths of this machine out of the binaries, and its cache out of the build.

    The assembler's report of a kernel is in no cache, so `compile_kernel` needs this too.
    """
    with (
        tempfile.TemporaryDirectory() as cache,
        triton.knobs.compilation.scope(),
        triton.knobs.nvidia.scope(),
        triton.knobs.cache.scope(),
    ):
        triton.knobs.compilation.disable_line_info = True
        triton.knobs.nvidia.dump_ptxas_log = True
        triton.knobs.cache.dir = cache
        yield


def compile_function(
    fn: Any,
    signature: Mapping[str, str],
    constexprs: Mapping[str, Any],
    aligned: Iterable[str],
    *,
    arch: int,
    num_warps: int,
    num_stages: int,
) -> Any:
    """Compile one function of the Triton language for one architecture, without a GPU.

    Args:
        fn: Decorated with `triton.jit`.
        signature: Type of each parameter, "constexpr" included, in their order.
        constexprs: Value of each constant.
        aligned: Pointers and sizes that are multiples of 16.
        arch: Compute capability, 90 for 9.0.
        num_warps: Warps of a block.
        num_stages: Depth of the software pipeline.

    Returns:
        Triton's `CompiledKernel`.
    """
    names = list(signature)
    # The target is given as numbers: with strings triton asks the active driver, and there is none.
    return triton.compile(
        ASTSource(
            fn,
            dict(signature),
            dict(constexprs),
            {(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
        ),
        target=GPUTarget("cuda", arch, 32),
        options={
            "num_warps": num_warps,
            "num_stages": num_stages,
            "ptx_version": PTX_VERSIONS[arch],
        },
    )


def compile_kernel(variant: KernelVariant, arch: int, output: Path) -> CompiledKernel:
    """Compile one variant for one architecture and write its two files."""
    with redirect_stdout(io.StringIO()) as log:
        compiled = compile_function(
            variant.fn,
            variant.signature,
            variant.constexprs,
            variant.aligned,
            arch=arch,
            num_warps=variant.num_warps,
            num_stages=variant.num_stages,
        )
    metadata = compiled.metadata
    if metadata.global_scratch_size or metadata.profile_scratch_size:
        raise ValueError(f"{variant.name}: needs scratch memory, which the loader does not give")
    ptx: str = compiled.asm["ptx"]
    entry = _ENTRY.search(ptx)
    if entry is None:
        raise ValueError(f"{variant.name}: no entry in the PTX")
    declared = entry["parameters"].count(".param")
    trailing = declared - len(variant.parameters)
    if trailing < 0:
        raise ValueError(f"{variant.name}: {declared} parameters, fewer than its signature has")
    registers, spill_bytes = _read_report(log.getvalue())
    return CompiledKernel(
        name=variant.name,
        arch=arch,
        target=sm_arch_from_capability(arch),
        ptx_version=f"{PTX_VERSIONS[arch] // 10}.{PTX_VERSIONS[arch] % 10}",
        entry=entry["name"],
        parameters=tuple(variant.parameters.items()),
        trailing_pointers=trailing,
        aligned=variant.aligned,
        grid_rule=variant.bound_grid_rule,
        block_threads=32 * metadata.num_warps,
        shared_bytes=metadata.shared,
        registers=registers,
        spill_bytes=spill_bytes,
        cubin=_write(output / f"{variant.name}.sm_{arch}.cubin", compiled.asm["cubin"]),
        ptx=_write(output / f"{variant.name}.sm_{arch}.ptx", ptx.encode()),
    )


def _write(path: Path, data: bytes) -> File:
    path.write_bytes(data)
    return File(path.name, digest(data))


def _read_report(log: str) -> tuple[int, int]:
    """Return registers of a thread and bytes spilled, from what `ptxas -v` printed."""
    registers = re.search(r"Used (\d+) registers", log)
    spills = re.findall(r"(\d+) bytes spill (?:stores|loads)", log)
    if registers is None or len(spills) != 2:
        raise ValueError(f"ptxas -v printed no register use:\n{log}")
    return int(registers[1]), sum(int(number) for number in spills)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Compile GPU kernels ahead of time.")
    parser.add_argument("--arch", type=int, nargs="+", required=True, choices=PTX_VERSIONS)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    options = parser.parse_args(arguments)
    manifest = compile_kernels(all_variants(), options.arch, options.output)
    for kernel in manifest.kernels:
        sys.stdout.write(
            f"{kernel.name} {kernel.target}: {kernel.registers} registers, "
            f"{kernel.spill_bytes} bytes spilled, {kernel.shared_bytes} bytes of shared memory\n"
        )


if __name__ == "__main__":
    main()
