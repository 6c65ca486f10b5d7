"""Triton glue for the models that send one response: `preprocess` and `vision`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from cxr_reason.contract import ModelSpec
from cxr_reason.reader.failures import as_cxr_error
from cxr_reason.reader.request import Value
from cxr_reason.serving.failures import log_through_triton, make_triton_error
from cxr_reason.serving.tensors import make_tensors, read_inputs


class Step(Protocol):
    """What a model does for one request, by tensor name."""

    spec: ModelSpec

    def __call__(
        self, inputs: Mapping[str, Value], parameters: Mapping[str, Any]
    ) -> dict[str, Value]:
        """Return the outputs for inputs and parameters of a request."""

    def close(self) -> None:
        """Free what the step holds."""


class UnaryModel:
    """Answers each request with one response.

    Args:
        pb_utils: The module `triton_python_backend_utils`.
        step: What the model does; closed with this object.
    """

    def __init__(self, pb_utils: Any, step: Step) -> None:
        log_through_triton(pb_utils)
        self._pb_utils = pb_utils
        self._step = step

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Return one `pb_utils.InferenceResponse` for each request, in order."""
        return [self._answer(request) for request in requests]

    def close(self) -> None:
        """Free the step."""
        self._step.close()

    def _answer(self, request: Any) -> Any:
        response = self._pb_utils.InferenceResponse
        spec = self._step.spec
        try:
            inputs = read_inputs(self._pb_utils, request, spec)
            outputs = self._step(inputs, json.loads(request.parameters()))
            return response(make_tensors(self._pb_utils, outputs, spec.outputs))
        except Exception as error:  # one request's failure must not end the model
            return response(error=make_triton_error(self._pb_utils, as_cxr_error(error)))
