"""The manifest of a folder of compiled kernels: `compile.py` writes it, `loader.py` reads it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cxr_reason.errors import ArtifactError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class File:
    """A file beside the manifest.

    Attributes:
        name: Its name.
        sha256: Digest of its bytes, hexadecimal.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class CompiledKernel:
    """One variant for one architecture.

    Attributes:
        name: Of the variant.
        arch: Compute capability, 90 for 9.0.
        target: What `ptxas` was told: "sm_90a" runs on 9.0 only, "sm_80" on later ones too.
        ptx_version: ISA of the PTX; a driver that compiles it must know it.
        entry: Symbol of the kernel.
        parameters: (name, type) in the order of the kernel's; types as "*fp32", "i32" or "i64".
        trailing_pointers: Pointers that Triton adds after them; null is right.
        aligned: Parameters that must be multiples of 16.
        grid_rule: Blocks in x, y and z, see `variants.evaluate_grid`.
        block_threads: Threads of a block, all in x.
        shared_bytes: Dynamic shared memory of a block.
        registers: Of a thread.
        spill_bytes: Registers that did not fit: bytes stored and loaded for it.
        cubin: Machine code for `target`.
        ptx: The same for a driver to compile.
    """

    name: str
    arch: int
    target: str
    ptx_version: str
    entry: str
    parameters: tuple[tuple[str, str], ...]
    trailing_pointers: int
    aligned: tuple[str, ...]
    grid_rule: str
    block_threads: int
    shared_bytes: int
    registers: int
    spill_bytes: int
    cubin: File
    ptx: File

    @property
    def is_exact(self) -> bool:
        """Whether it runs on its own architecture only."""
        return self.target.endswith("a")


@dataclass(frozen=True)
class KernelManifest:
    """The list of a folder's kernels.

    Attributes:
        format_version: Version of this layout.
        triton_version: Compiler that made them.
        kernels: Sorted by name and architecture.
    """

    format_version: int
    triton_version: str
    kernels: tuple[CompiledKernel, ...]

    def write(self, folder: Path) -> None:
        """Write it into `folder`."""
        text = json.dumps(asdict(self), indent=1, sort_keys=True)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> KernelManifest:
    """Read the manifest in `folder`.

    Raises:
        ArtifactError: There is none, or it is of another version or damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtifactError(
            f"{folder} holds no compiled kernels: build with CXR_CUDA_ARCHS set, "
            "see cxr_reason.kernels.aot"
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format_version"] != FORMAT_VERSION:
            raise ArtifactError(
                f"{path} has format {data['format_version']}, this version reads "
                f"{FORMAT_VERSION}: build the kernels again"
            )
        kernels = tuple(_parse_kernel(kernel) for kernel in data["kernels"])
        return KernelManifest(FORMAT_VERSION, data["triton_version"], kernels)
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged ({error!r}): build the kernels again") from error


def _parse_kernel(data: dict[str, Any]) -> CompiledKernel:
    return CompiledKernel(
        **{
            **data,
            "parameters": tuple((name, kind) for name, kind in data["parameters"]),
            "aligned": tuple(data["aligned"]),
            "cubin": File(**data["cubin"]),
            "ptx": File(**data["ptx"]),
        }
    )


def digest(data: bytes) -> str:
    """Return the SHA-256 of `data`, hexadecimal."""
    return hashlib.sha256(data).hexdigest()
