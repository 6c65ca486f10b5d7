"""What the tests of training share: a checkpoint to start from, and sentences that are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.made_once import MadeOnce
from support.sentences import searched_once

TINY: dict[str, Any] = {
    "first_special_id": 2048,
    "max_pixels": 128 * 128,  # 112 x 112: sixteen visual tokens
    "text": {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "intermediate_size": 128, "vocab_size": 2080,
        "max_position_embeddings": 1024, "mrope_section": [4, 6, 6],
    },
    "vision": {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2,
        "fullatt_block_indexes": [1], "out_hidden_size": 64,
    },
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def sentences_are_searched_once() -> Iterator[None]:
    """Traces say much in the same sentences, and each trace is read by one test many times."""
    with searched_once():
        yield


@pytest.fixture(scope="session")
def tiny(made_once: MadeOnce) -> Path:
    """A random checkpoint to train from."""

    def make(folder: Path) -> None:
        from cxr_reason.training import random_checkpoint

        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(random_checkpoint.SIZES, "tiny", TINY)
            random_checkpoint.make_checkpoint("tiny", folder, "training")

    return made_once.get("tiny", make)
