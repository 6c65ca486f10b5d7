"""How fast this machine reads memory: it limits decoding, which reads all weights per token."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

_SIZE_BYTES = 2**30  # far beyond any cache
_PASSES = 7


def measure_read_bandwidth(
    size_bytes: int = _SIZE_BYTES, num_threads: int | None = None, passes: int = _PASSES
) -> float:
    """Read one block of memory with all threads, several times.

    Args:
        size_bytes: Size of the block, in fp32.
        num_threads: Threads that each read their part of it; None for one a core.
        passes: Times that it is read.

    Returns:
        Bytes per second of the fastest pass.
    """
    threads = num_threads or os.cpu_count() or 1
    parts = np.array_split(np.ones(size_bytes // 4, np.float32), threads)
    fastest_s = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(passes):
            start_s = time.perf_counter()
            # x · x reads x once, and NumPy lets other threads run meanwhile.
            list(pool.map(_square, parts))
            fastest_s = min(fastest_s, time.perf_counter() - start_s)
    return sum(part.nbytes for part in parts) / fastest_s


def _square(part: NDArray[np.float32]) -> float:
    return float(np.dot(part, part))
