"""Triton's interpreter on the CPU, with the bfloat16 that it lacks.

`TRITON_INTERPRET=1`, set before a kernel's module is imported, runs kernels with NumPy. That
interpreter keeps bfloat16 as bit patterns in uint16: `tl.dot` multiplies the patterns as integers,
and casts from float32 cut bits off instead of rounding (a documented limitation,
https://triton-lang.org/main/programming-guide/chapter-3/debugging.html). A GPU does neither.
"""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from numpy.typing import NDArray
from triton.runtime import interpreter


def is_interpreted() -> bool:
    """Say whether kernels that are defined now run in the interpreter."""
    return bool(triton.knobs.runtime.interpret)


def correct_bfloat16() -> None:
    """Make the interpreter multiply, widen and round bfloat16 as a GPU does. Idempotent."""
    builder = interpreter.InterpreterBuilder
    if getattr(builder, "rounds_bfloat16", False):
        return
    create_dot, cast_impl = builder.create_dot, builder.cast_impl

    def widen(operand):  # type: ignore[no-untyped-def]
        if operand.dtype.scalar != tl.bfloat16:
            return operand
        return interpreter.TensorHandle(widen_bfloat16(operand.data), tl.float32)

    def dot(self, a, b, d, *options):  # type: ignore[no-untyped-def]
        return create_dot(self, widen(a), widen(b), d, *options)

    def cast(self, source, target):  # type: ignore[no-untyped-def]
        kinds = (source.dtype.scalar, target.scalar)
        if kinds == (tl.bfloat16, tl.float32):
            return interpreter.TensorHandle(widen_bfloat16(source.data), tl.float32)
        if kinds == (tl.float32, tl.bfloat16):
            return interpreter.TensorHandle(round_to_bfloat16(source.data), tl.bfloat16)
        return cast_impl(self, source, target)

    builder.create_dot, builder.cast_impl = dot, cast
    builder.rounds_bfloat16 = True


def widen_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the values of bfloat16 bit patterns."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def round_to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return bfloat16 bit patterns, rounded to nearest and ties to even."""
    bits = values.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    # Rounding could carry the payload of a NaN into infinity.
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)
