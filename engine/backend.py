"""The interface of a backend: one object that knows how to build and how to run an engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from cxr_reason.engine.artifact import Manifest
from cxr_reason.engine.base import Engine
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.plan import BuildPlan

Report = Callable[[str, float], None]
# Parts of an engine: "vision" for `Engine.encode`, "decoder" for `Engine.submit`.
VISION = "vision"
DECODER = "decoder"


class Backend(ABC):
    """One backend. Making the object imports none of the packages that it needs.

    Attributes:
        name: As the manifest of its artifacts has it.
        precisions: Of the decoder's weights; the first is the default.
        tools: Distributions whose versions an artifact records, besides those of every backend.
    """

    name: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]]
    tools: ClassVar[tuple[str, ...]]

    @abstractmethod
    def check_tools(self, plan: BuildPlan) -> None:
        """Check that everything is there that the build needs.

        Raises:
            EngineError: A package, a device, or the calibration data is missing.
        """

    @abstractmethod
    def describe_steps(self, plan: BuildPlan) -> tuple[tuple[str, str], ...]:
        """Return name and description of each step that `run_steps` reports."""

    @abstractmethod
    def estimate_bytes(self, plan: BuildPlan) -> int:
        """Return the approximate size of the artifact."""

    @abstractmethod
    def run_steps(self, plan: BuildPlan, folder: Path, report: Report) -> None:
        """Write vision part and decoder.

        Args:
            plan: What is built.
            folder: Gets the files.
            report: Called with a step's name and the part of it that is done, 0 to 1.

        Raises:
            EngineError: A step failed.
        """

    @abstractmethod
    def load(
        self, folder: Path, manifest: Manifest, config: EngineConfig, parts: frozenset[str]
    ) -> Engine:
        """Load an artifact.

        Raises:
            ArtifactError: A file cannot be loaded.
            EngineError: A package of the backend is missing.
        """
