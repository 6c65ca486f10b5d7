"""Steps 1 and 2 of a film: its bytes → gray patches (`cxr_reason.serving.preprocess`)."""

# First: in the server of the pytriton wheel this import makes the packages below findable.
import triton_python_backend_utils as pb_utils  # isort: skip

from typing import Any

from cxr_reason.serving.preprocess import Preprocessor
from cxr_reason.serving.unary import UnaryModel


class TritonPythonModel:
    """The names that Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the engine's pixel budget."""
        self._model = UnaryModel(pb_utils, Preprocessor.from_environment())

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request with one response."""
        return self._model.execute(requests)

    def finalize(self) -> None:
        """Free what the model holds."""
        self._model.close()
