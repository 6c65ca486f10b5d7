"""What `cxr-reason bench serving` measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxr_reason.engine.config import EngineConfig


@dataclass(frozen=True)
class ServingBench:
    """What to measure.

    Attributes:
        engine: Folder of the engine that is served.
        cache: Folder for aiperf's environment.
        film: DICOM, PNG or JPEG file; None for RG1 or a phantom.
        num_films: Different films that requests ask about in turn.
        tokens: Limit of generated tokens of a request.
        concurrency: How many requests at once, one measurement each.
        runs: Requests of a measurement, as a multiple of its concurrency.
        repeats: Requests that the cost of the server is the median of.
        requests: Requests of the long run at the highest concurrency; 0 leaves it out.
        aiperf: Measure with aiperf too.
        gateway: Measure through the gateway too.
        max_batch: Requests that the engine decodes together.
    """

    engine: Path
    cache: Path
    film: Path | None = None
    num_films: int = 8
    tokens: int = 64
    concurrency: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    runs: int = 2
    repeats: int = 21
    requests: int = 0
    aiperf: bool = False
    gateway: bool = False
    max_batch: int = EngineConfig.max_batch
