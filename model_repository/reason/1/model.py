"""Steps 4 to 7: a film and a prompt → text, then the reading (`cxr_reason.reader`)."""

# First: in the server of the pytriton wheel this import makes the packages below findable.
import triton_python_backend_utils as pb_utils  # isort: skip

from typing import Any

from cxr_reason.serving.streaming import StreamingModel


class TritonPythonModel:
    """The names that Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the decoder of the engine."""
        self._model = StreamingModel.from_environment(pb_utils)

    def execute(self, requests: list[Any]) -> None:
        """Take the requests; their responses come later, in streams."""
        self._model.execute(requests)

    def finalize(self) -> None:
        """Cancel what runs and free the engine."""
        self._model.close()
