"""The few calls of the CUDA driver that loading and launching a kernel takes, through ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from cxr_reason.errors import EngineError

_LIBRARY = "libcuda.so.1"
_HANDLE = ctypes.c_void_p
_INT = ctypes.c_int
_UINT = ctypes.c_uint
# cuda.h: CUdevice_attribute and CUfunction_attribute.
_COMPUTE_CAPABILITY_MAJOR = 75
_COMPUTE_CAPABILITY_MINOR = 76
_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8

_ARGUMENTS: dict[str, list[Any]] = {
    "cuInit": [_UINT],
    "cuGetErrorString": [_INT, ctypes.POINTER(ctypes.c_char_p)],
    "cuDeviceGetAttribute": [ctypes.POINTER(_INT), _INT, _INT],
    "cuCtxGetCurrent": [ctypes.POINTER(_HANDLE)],
    "cuCtxSetCurrent": [_HANDLE],
    "cuCtxGetDevice": [ctypes.POINTER(_INT)],
    "cuDevicePrimaryCtxRetain": [ctypes.POINTER(_HANDLE), _INT],
    "cuModuleLoadData": [ctypes.POINTER(_HANDLE), ctypes.c_char_p],
    "cuModuleGetFunction": [ctypes.POINTER(_HANDLE), _HANDLE, ctypes.c_char_p],
    "cuFuncSetAttribute": [_HANDLE, _INT, _INT],
    "cuLaunchKernel": [
        _HANDLE,
        *[_UINT] * 7,
        _HANDLE,
        ctypes.POINTER(_HANDLE),
        ctypes.POINTER(_HANDLE),
    ],
}


class CudaDriver:
    """libcuda, its errors as `EngineError`.

    Args:
        library: Name or path of the driver's library.

    Raises:
        EngineError: The library is missing, is no CUDA driver, or finds no device.
    """

    def __init__(self, library: str = _LIBRARY) -> None:
        try:
            self._library = ctypes.CDLL(library)
            for name, kinds in _ARGUMENTS.items():
                getattr(self._library, name).argtypes = kinds
        except (OSError, AttributeError) as error:
            raise EngineError(
                f"no NVIDIA driver: {library} cannot be used ({error}); compiled kernels need a "
                "CUDA device and its driver"
            ) from error
        self._call("cuInit", 0)

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(code, ctypes.byref(text))
            reason = text.value.decode() if text.value else "unknown error"
            raise EngineError(f"CUDA driver: {name} failed with {code} ({reason})")

    def current_context(self) -> int:
        """Return the thread's context; without one, make the first device's primary one current."""
        context = _HANDLE()
        self._call("cuCtxGetCurrent", ctypes.byref(context))
        if not context.value:
            self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
            self._call("cuCtxSetCurrent", context)
        return context.value or 0

    def compute_capability(self) -> int:
        """Return that of the current context's device, 90 for 9.0."""
        device, major, minor = _INT(), _INT(), _INT()
        self._call("cuCtxGetDevice", ctypes.byref(device))
        for number, attribute in (
            (major, _COMPUTE_CAPABILITY_MAJOR),
            (minor, _COMPUTE_CAPABILITY_MINOR),
        ):
            self._call("cuDeviceGetAttribute", ctypes.byref(number), attribute, device)
        return major.value * 10 + minor.value

    def load_function(self, image: bytes, entry: str) -> int:
        """Load a cubin or PTX into the current context and return its kernel."""
        module, function = _HANDLE(), _HANDLE()
        # PTX must end in a zero byte, which c_char_p adds; a cubin knows its own length.
        self._call("cuModuleLoadData", ctypes.byref(module), image)
        self._call("cuModuleGetFunction", ctypes.byref(function), module, entry.encode())
        return function.value or 0

    def allow_shared_memory(self, function: int, size_bytes: int) -> None:
        """Let a kernel have this much dynamic shared memory."""
        self._call("cuFuncSetAttribute", function, _MAX_DYNAMIC_SHARED_SIZE_BYTES, size_bytes)

    def launch(
        self,
        function: int,
        grid: tuple[int, int, int],
        block_threads: int,
        shared_bytes: int,
        stream: int,
        arguments: Sequence[Any],
    ) -> None:
        """Put a kernel into a stream.

        Args:
            function: From `load_function`.
            grid: Blocks in x, y and z.
            block_threads: Threads of a block, in x.
            shared_bytes: Dynamic shared memory of a block.
            stream: Handle of the stream; 0 is the default one.
            arguments: Values of ctypes, as wide as the kernel's parameters.
        """
        pointers = (_HANDLE * len(arguments))(
            *(ctypes.cast(ctypes.byref(value), _HANDLE) for value in arguments)
        )
        self._call(
            "cuLaunchKernel",
            function, *grid, block_threads, 1, 1, shared_bytes, stream, pointers, None,
        )  # fmt: skip
