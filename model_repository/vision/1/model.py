"""Step 3 of a film: patches → visual tokens (`cxr_reason.serving.vision`)."""

# First: in the server of the pytriton wheel this import makes the packages below findable.
import triton_python_backend_utils as pb_utils  # isort: skip

from typing import Any

from cxr_reason.serving.unary import UnaryModel
from cxr_reason.serving.vision import VisionEncoder


class TritonPythonModel:
    """The names that Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the vision part of the engine."""
        self._model = UnaryModel(pb_utils, VisionEncoder.from_environment())

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request with one response."""
        return self._model.execute(requests)

    def finalize(self) -> None:
        """Free what the model holds."""
        self._model.close()
