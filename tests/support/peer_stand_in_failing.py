# /// script
# dependencies = []
# ///
"""Stand-in for a peer that loads and reads one film, and then fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def load(job: dict[str, Any]) -> _StandIn:
    return _StandIn(job["runs"])


class _StandIn:
    def __init__(self, runs: int) -> None:
        self._left = 1 + runs

    def generate(
        self, film: str, job: dict[str, Any], on_token: Callable[[], None]
    ) -> tuple[int, int]:
        if not self._left:
            raise RuntimeError("this stand-in has had enough")
        self._left -= 1
        for _ in range(job["tokens"]):
            on_token()
        return 7, job["tokens"]
