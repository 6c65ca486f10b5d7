"""Values ↔ the messages of Triton's gRPC service (KServe v2), for tensors of shape `[1]`."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from tritonclient.grpc import service_pb2

from cxr_reason.client.transport import Value
from cxr_reason.contract import ModelSpec, TensorSpec
from cxr_reason.errors import BadRequestError
from cxr_reason.settings import DataType

_FORMATS: dict[DataType, str] = {"FP32": "<f", "INT32": "<i", "UINT64": "<Q"}
_LENGTH_PREFIX_BYTES = 4


def make_request(spec: ModelSpec, values: Mapping[str, Value]) -> Any:
    """Return the `ModelInferRequest` for one model.

    Args:
        spec: The model.
        values: Inputs by name.

    Raises:
        BadRequestError: A number that its data type cannot hold.
    """
    request = service_pb2.ModelInferRequest(model_name=spec.name)
    for tensor in spec.inputs:
        if tensor.name in values:
            request.inputs.add(name=tensor.name, datatype=tensor.dtype, shape=[1])
            request.raw_input_contents.append(encode_value(values[tensor.name], tensor))
    return request


def read_response(response: Any) -> dict[str, bytes]:
    """Return the outputs of a `ModelInferResponse` by name; all of them are BYTES `[1]`."""
    return {
        output.name: raw[_LENGTH_PREFIX_BYTES:]
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def encode_value(value: Value, tensor: TensorSpec) -> bytes:
    """Return a value as Triton's raw bytes.

    Raises:
        BadRequestError: A number that the data type cannot hold.
    """
    if isinstance(value, bytes):
        return struct.pack("<I", len(value)) + value
    try:
        return struct.pack(_FORMATS[tensor.dtype], value)
    except (struct.error, OverflowError) as error:
        raise BadRequestError(
            f"{tensor.name}: {value!r} is not a value of type {tensor.dtype}"
        ) from error
