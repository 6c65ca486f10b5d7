"""Triton's tensors ↔ Python values, following the specifications in `contract`.

A tensor of shape `[1]` is one `bytes`, `int` or `float`; every other is an array.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_reason.contract import ModelSpec, TensorSpec
from cxr_reason.errors import BadRequestError
from cxr_reason.reader.request import Value, shorten
from cxr_reason.settings import DataType

_NUMPY_TYPES: dict[DataType, type[np.generic]] = {
    "BYTES": np.object_,
    "FP32": np.float32,
    "INT32": np.int32,
    "UINT64": np.uint64,
}


def read_tensor(array: npt.NDArray[Any], spec: TensorSpec) -> Value:
    """Return the value of one received tensor, in memory of its own.

    Raises:
        BadRequestError: The number of elements is not that of the specification.
    """
    if spec.shape != (1,):
        # The backend's array is a view of shared memory that ends with the request.
        return np.array(array, dtype=_NUMPY_TYPES[spec.dtype])
    if array.size != 1:
        raise BadRequestError(
            f"{spec.name}: {array.size} elements; exactly 1 is allowed", param=spec.name
        )
    value = array.reshape(-1)[0]
    if spec.dtype == "BYTES":
        return bytes(value)
    if spec.dtype == "FP32":
        return shorten(value)
    return int(value)


def make_array(value: Value, spec: TensorSpec) -> npt.NDArray[Any]:
    """Return `value` as the array that Triton takes for this tensor."""
    dtype = _NUMPY_TYPES[spec.dtype]
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value, dtype=dtype)
    return np.array([value], dtype=dtype)


def read_inputs(pb_utils: Any, request: Any, spec: ModelSpec) -> dict[str, Value]:
    """Return the inputs that a request brings, by name.

    Args:
        pb_utils: The module `triton_python_backend_utils`.
        request: A `pb_utils.InferenceRequest`.
        spec: The model that got the request.

    Raises:
        BadRequestError: An input is missing, which Triton does not notice in a model that has
            optional ones, or has the wrong number of elements.
    """
    values: dict[str, Value] = {}
    for tensor in spec.inputs:
        received = pb_utils.get_input_tensor_by_name(request, tensor.name)
        if received is not None:
            values[tensor.name] = read_tensor(received.as_numpy(), tensor)
        elif not tensor.optional:
            raise BadRequestError(
                f"{tensor.name}: missing; it is {tensor.meaning}", param=tensor.name
            )
    return values


def make_tensors(
    pb_utils: Any, values: Mapping[str, Value], specs: tuple[TensorSpec, ...]
) -> list[Any]:
    """Return a `pb_utils.Tensor` for each specification, in their order."""
    return [pb_utils.Tensor(spec.name, make_array(values[spec.name], spec)) for spec in specs]
