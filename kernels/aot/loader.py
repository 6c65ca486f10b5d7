"""Load compiled kernels and launch them: standard library and NVIDIA driver only."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxr_reason.errors import ArtifactError, EngineError
from cxr_reason.kernels.aot.driver import CudaDriver
from cxr_reason.kernels.aot.manifest import CompiledKernel, File, digest, read_manifest
from cxr_reason.kernels.aot.variants import evaluate_grid

BINARIES = Path(__file__).parent / "binaries"

_FREE_SHARED_BYTES = 48 * 1024  # of a block; a kernel must ask for more
_KINDS = {
    "i1": ctypes.c_int8,
    "i8": ctypes.c_int8,
    "i16": ctypes.c_int16,
    "i32": ctypes.c_int32,
    "i64": ctypes.c_int64,
    "u8": ctypes.c_uint8,
    "u16": ctypes.c_uint16,
    "u32": ctypes.c_uint32,
    "u64": ctypes.c_uint64,
}


class KernelLibrary:
    """The kernels of one folder. Any thread may launch; kernels load at their first launch.

    Args:
        folder: Output of `cxr_reason.kernels.aot.compile`.
        driver: None loads libcuda.

    Raises:
        ArtifactError: The folder has no manifest, or one that cannot be read.
        EngineError: No driver or no device.
    """

    def __init__(self, folder: Path, driver: CudaDriver | None = None) -> None:
        self._folder = folder
        self._kernels: dict[str, list[CompiledKernel]] = {}
        for kernel in read_manifest(folder).kernels:
            self._kernels.setdefault(kernel.name, []).append(kernel)
        self._driver = driver or CudaDriver()
        self._loaded: dict[tuple[int, str], tuple[CompiledKernel, int]] = {}
        self._lock = threading.Lock()

    @classmethod
    def installed(cls) -> KernelLibrary:
        """Return the kernels that were built with this installation."""
        return cls(BINARIES)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the kernels, sorted."""
        return tuple(sorted(self._kernels))

    def launch(self, name: str, arguments: Mapping[str, int], *, stream: int = 0) -> None:
        """Launch a kernel on the device of the thread's CUDA context.

        Without a context the first device is used. Returns before the kernel has run.

        Args:
            name: One of `names`.
            arguments: Value of every parameter; an address on the device for a pointer.
            stream: Handle of a CUDA stream; 0 is the default one.

        Raises:
            ArtifactError: A file is missing or altered.
            EngineError: No kernel of that name or none for this device, or the driver failed.
            TypeError: A parameter is missing or unknown.
            ValueError: An argument is too large for its type, or no multiple of 16 but has to be.
        """
        kernel, function = self._load(name)
        values = _order_arguments(kernel, arguments)
        grid = evaluate_grid(kernel.grid_rule, arguments)
        self._driver.launch(
            function, grid, kernel.block_threads, kernel.shared_bytes, stream, values
        )

    def _load(self, name: str) -> tuple[CompiledKernel, int]:
        if name not in self._kernels:
            raise EngineError(f"no compiled kernel {name!r}: {self._folder} has {self.names}")
        with self._lock:
            key = (self._driver.current_context(), name)
            if key not in self._loaded:
                kernel, file = choose_file(self._kernels[name], self._driver.compute_capability())
                function = self._driver.load_function(self._read(file), kernel.entry)
                if kernel.shared_bytes > _FREE_SHARED_BYTES:
                    self._driver.allow_shared_memory(function, kernel.shared_bytes)
                self._loaded[key] = kernel, function
            return self._loaded[key]

    def _read(self, file: File) -> bytes:
        path = self._folder / file.name
        data = path.read_bytes() if path.is_file() else b""
        if digest(data) != file.sha256:
            raise ArtifactError(f"{path} is missing or altered: build the kernels again")
        return data


def choose_file(kernels: list[CompiledKernel], capability: int) -> tuple[CompiledKernel, File]:
    """Choose the file that a device runs best: a cubin made for it, else PTX.

    A cubin runs on devices of its major version from its minor version on, PTX on all later ones;
    neither does if its target is exact ("sm_90a").

    Args:
        kernels: One variant for all its architectures.
        capability: Compute capability of the device, 90 for 9.0.

    Raises:
        EngineError: None of them runs there.
    """
    older = [
        kernel
        for kernel in sorted(kernels, key=lambda kernel: -kernel.arch)
        if kernel.arch == capability or (kernel.arch < capability and not kernel.is_exact)
    ]
    for kernel in older:
        if kernel.arch // 10 == capability // 10:
            return kernel, kernel.cubin
    if older:
        return older[0], older[0].ptx
    targets = ", ".join(sorted(kernel.target for kernel in kernels))
    raise EngineError(
        f"kernel {kernels[0].name} was compiled for {targets}, not for this device "
        f"({capability // 10}.{capability % 10}): add {capability} to CXR_CUDA_ARCHS, or 80, which "
        "later devices can run too"
    )


def _order_arguments(kernel: CompiledKernel, arguments: Mapping[str, int]) -> list[Any]:
    names = {name for name, _ in kernel.parameters}
    if names != set(arguments):
        missing, unknown = sorted(names - set(arguments)), sorted(set(arguments) - names)
        raise TypeError(f"kernel {kernel.name}: missing {missing}, unknown {unknown}")
    for name in kernel.aligned:
        if arguments[name] % 16:
            raise ValueError(
                f"kernel {kernel.name}: {name} must be a multiple of 16, got {arguments[name]}"
            )
    values: list[Any] = []
    for name, kind in kernel.parameters:
        value = (ctypes.c_uint64 if kind.startswith("*") else _KINDS[kind])(arguments[name])
        if value.value != arguments[name]:
            raise ValueError(f"kernel {kernel.name}: {name}={arguments[name]} is no {kind}")
        values.append(value)
    return values + [ctypes.c_uint64(0) for _ in range(kernel.trailing_pointers)]
