"""An engine of two parts that can be loaded separately: a server has each in its own process."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from cxr_reason.engine.artifact import Manifest
from cxr_reason.engine.base import Array, Engine, Generation, GenerationRequest, VisualInput
from cxr_reason.errors import EngineError


class VisionPart(Protocol):
    """What encodes films."""

    def encode(self, patches: Array, grid: tuple[int, int]) -> VisualInput:
        """See `Engine`."""


class DecoderPart(Protocol):
    """What writes text."""

    def submit(self, request: GenerationRequest) -> Generation:
        """See `Engine`."""

    def close(self) -> None:
        """See `Engine`."""


DecoderPartT = TypeVar("DecoderPartT", bound=DecoderPart)


class EngineOfParts(Engine, Generic[DecoderPartT]):
    """See `Engine`. A call that needs a part which is not loaded raises EngineError.

    Args:
        manifest: The description of the artifact.
        vision: For `encode`, or None.
        decoder: For everything else, or None.
    """

    def __init__(
        self, manifest: Manifest, vision: VisionPart | None, decoder: DecoderPartT | None
    ) -> None:
        self.manifest = manifest
        self._vision = vision
        self._decoder = decoder

    def encode(self, patches: Array, grid: tuple[int, int]) -> VisualInput:
        """See `Engine`."""
        if self._vision is None:
            raise EngineError("engine: loaded without its vision part")
        return self._vision.encode(patches, grid)

    def submit(self, request: GenerationRequest) -> Generation:
        """See `Engine`."""
        return self._loaded_decoder().submit(request)

    def close(self) -> None:
        """See `Engine`."""
        if self._decoder is not None:
            self._decoder.close()

    def _loaded_decoder(self) -> DecoderPartT:
        if self._decoder is None:
            raise EngineError("engine: loaded without its decoder part")
        return self._decoder
