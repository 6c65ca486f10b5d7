"""What `cxr-reason bench engine` measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxr_reason.benchmarks.contenders import Contender


@dataclass(frozen=True)
class EngineBench:
    """What to measure.

    Attributes:
        checkpoint: Folder with the weights that all contenders run.
        peers: Peers to compare with.
        precisions: Of ours; each is built unless `engines` says otherwise.
        engines: Engines of ours that are built already, instead.
        film: DICOM, PNG or JPEG file; None for RG1 or a phantom.
        cache: Folder for environments and converted models.
        tokens: Generated tokens of a request alone.
        batch_tokens: Generated tokens of each of several requests at once.
        concurrency: How many requests at once, one measurement each.
        runs: Of a request alone.
        batch_runs: Of several requests at once.
        timeout_s: For converting, and for measuring, one contender.
        rebuild: Convert again what the cache holds.
        bandwidth_bytes: Size of the memory that the bandwidth is read from.
    """

    checkpoint: Path
    peers: tuple[Contender, ...]
    cache: Path
    precisions: tuple[str, ...] = ("int4",)
    engines: tuple[Path, ...] = ()
    film: Path | None = None
    tokens: int = 400
    batch_tokens: int = 128
    concurrency: tuple[int, ...] = (1, 2, 4, 8, 16)
    runs: int = 3
    batch_runs: int = 1
    timeout_s: float = 7200.0
    rebuild: bool = False
    bandwidth_bytes: int = 2**30

    @property
    def num_films(self) -> int:
        """Films that a contender may read, each once before any comes again."""
        return 1 + 2 * self.runs + self.batch_runs * sum(self.concurrency)
