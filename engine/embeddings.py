"""The text embedding table, mapped from disk: only the rows in use are ever read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

EMBEDDINGS = "embeddings.npy"


class EmbeddingTable:
    """Token ids → embeddings.

    The file is an `.npy` of float32, float16, or uint16 for the bit patterns of bfloat16, which
    NumPy has no name for: the table keeps the checkpoint's own values exactly.
    """

    def __init__(self, folder: Path) -> None:
        self._table = np.load(folder / EMBEDDINGS, mmap_mode="r")  # [vocab, hidden]

    def look_up(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return float32 `[len(ids), hidden]`."""
        rows = self._table[ids]
        if rows.dtype == np.uint16:
            return (rows.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return rows.astype(np.float32)
