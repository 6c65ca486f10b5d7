"""Keys and values of prompts by what they were computed from: nothing is prefilled twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from cxr_reason.engine.base import Array


@dataclass(frozen=True)
class CachedSegment:
    """What the decoder computed for one `prefix.PromptSegment`.

    Attributes:
        keys_and_values: float32 `[kv_heads, length, head_dim]` for each layer and kind.
        logits: Of its last token, float32 `[vocab]`; None where an answer does not start there.
    """

    keys_and_values: dict[str, Array]
    logits: Array | None

    @property
    def size_bytes(self) -> int:
        """Memory it holds."""
        logits_bytes = 0 if self.logits is None else self.logits.nbytes
        return logits_bytes + sum(array.nbytes for array in self.keys_and_values.values())


class PrefixCache:
    """Segments by key, the least recently used dropped first. Used by one thread.

    Args:
        capacity_bytes: Most memory that the segments hold.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._segments: OrderedDict[bytes, CachedSegment] = OrderedDict()
        self.size_bytes = 0

    def find(self, keys: Iterable[bytes]) -> list[CachedSegment]:
        """Return the cached segments of the longest run of leading keys."""
        found = []
        for key in keys:
            segment = self._segments.get(key)
            if segment is None:
                break
            self._segments.move_to_end(key)
            found.append(segment)
        return found

    def put(self, key: bytes, segment: CachedSegment) -> None:
        """Keep a segment; one that is larger than the cache is not kept."""
        if key in self._segments or segment.size_bytes > self._capacity_bytes:
            return
        self._segments[key] = segment
        self.size_bytes += segment.size_bytes
        while self.size_bytes > self._capacity_bytes:
            _, oldest = self._segments.popitem(last=False)
            self.size_bytes -= oldest.size_bytes
