"""The log of a running `tritonserver`: its progress, and the lines that explain a failure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_TAIL_LINES = 12
_LOADING = re.compile(rb'"loading: (\w+):\d+"')
_LOADED = re.compile(rb"\"successfully loaded '(\w+)'\"")
_IMPORTANT = re.compile(rb"^[EW]\d{4} |Error\b|error:")
# On a machine without a GPU Triton warns about that, which explains no failure.
_EXPECTED = re.compile(rb"NVML|DCGM|CUDA|[Pp]inned memory|GPU")


class ServerLog:
    """Reads a log while the server writes it.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_bytes = 0

    def read_progress(self) -> Iterator[str]:
        """Yield a short line for each model that began or ended loading since the last call."""
        with self.path.open("rb") as file:
            file.seek(self._read_bytes)
            new = file.read()
        complete = new[: new.rfind(b"\n") + 1]
        self._read_bytes += len(complete)
        for line in complete.splitlines():
            if match := _LOADING.search(line):
                yield f"loading {match[1].decode()}"
            elif match := _LOADED.search(line):
                yield f"loaded {match[1].decode()}"

    def tail(self) -> str:
        """Return the last errors and warnings, or, if there are none, the last lines."""
        lines = [line for line in self.path.read_bytes().splitlines() if line.strip()]
        important = [
            line for line in lines if _IMPORTANT.search(line) and not _EXPECTED.search(line)
        ]
        shown = (important or lines)[-_TAIL_LINES:]
        return "\n".join(line.decode(errors="replace") for line in shown) or "(empty)"
