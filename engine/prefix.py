"""A prompt → segments that requests can share, each named by everything before its end.

The film and the text before it are one segment; it ends where a question begins, so that every
question about the film shares it. Each turn up to the start of its answer is another, so that a
follow-up shares what came before. Segments are processed separately, on a hit and on a miss:
what a request gets does not depend on what is cached.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxr_reason.engine.base import VisualInput


@dataclass(frozen=True)
class PromptSegment:
    """A part of a prompt.

    Attributes:
        end: First token after it.
        key: SHA-256 of all tokens and films before `end`.
        starts_answer: The next token is generated, or was: logits are needed here.
    """

    end: int
    key: bytes
    starts_answer: bool


def split_prompt(
    ids: npt.NDArray[np.int64],
    visual: VisualInput | None,
    *,
    image_token_id: int,
    answer_start: npt.NDArray[np.int64],
) -> tuple[PromptSegment, ...]:
    """Split a prompt.

    Args:
        ids: int64 `[T]`, ending with `answer_start`.
        visual: The film whose tokens stand at the image tokens.
        image_token_id: Token that stands for a visual token.
        answer_start: The tokens that start an answer of the assistant.
    """
    windows = np.lib.stride_tricks.sliding_window_view(ids, len(answer_start))
    answers = np.flatnonzero((windows == answer_start).all(axis=1)) + len(answer_start)
    film = np.flatnonzero(ids == image_token_id)
    film_end = [int(film[-1]) + 1] if len(film) else []
    digest = hashlib.sha256()
    if visual is not None:
        # By content: a caller cannot name another film than the one it sent.
        digest.update(np.ascontiguousarray(visual.tokens).data)
        digest.update(np.array(visual.grid, np.int64).tobytes())
    segments, start = [], 0
    for end in sorted({*film_end, *answers.tolist(), len(ids)}):
        digest.update(ids[start:end].tobytes())
        segments.append(PromptSegment(end, digest.digest(), end not in film_end))
        start = end
    return tuple(segments)
