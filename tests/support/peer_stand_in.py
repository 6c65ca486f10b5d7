# /// script
# dependencies = []
# ///
"""Stand-in for a peer of `cxr-reason bench engine`: installs nothing and answers at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Job = dict[str, Any]


def prepare(job: Job) -> None:
    folder = Path(job["model"])
    folder.mkdir()
    (folder / "model").write_text("converted")


def load(job: Job) -> _StandIn:
    assert (Path(job["model"]) / "model").read_text() == "converted"
    return _StandIn()


class _StandIn:
    def __init__(self) -> None:
        self.seen: set[bytes] = set()

    def generate(self, film: str, job: Job, on_token: Callable[[], None]) -> tuple[int, int]:
        self.seen.add(Path(film).read_bytes())
        for _ in range(job["tokens"]):
            on_token()
        return 5 + job["chat"].count("<|image_pad|>"), job["tokens"]

    def generate_many(self, films: list[str], job: Job) -> int:
        new = {Path(film).read_bytes() for film in films}
        assert len(new) == len(films) and not new & self.seen, "every film is another"
        self.seen |= new
        return len(films) * job["tokens"]
