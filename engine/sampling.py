"""Logits → the next token. The same numbers in give the same token out, on every backend."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cxr_reason.engine.base import SamplingParams

# Nearly always holds the whole nucleus, so that a vocabulary of 150,000 is not sorted at each step.
_CANDIDATES = 1024


class Sampler:
    """Chooses the tokens of one request.

    Its random numbers come from a Philox generator keyed with the seed, one number a token, so
    nothing that runs beside the request changes them.
    """

    def __init__(self, params: SamplingParams) -> None:
        self._params = params
        self._random = np.random.Generator(np.random.Philox(params.seed))

    def choose(self, logits: npt.NDArray[np.float32]) -> int:
        """Return the next token.

        Args:
            logits: float32 `[vocab]`.
        """
        if self._params.temperature == 0.0:
            return int(logits.argmax())
        below_most_likely = logits.astype(np.float64) - float(logits.max())
        with np.errstate(over="ignore"):  # lowest temperatures: -inf, of weight 0
            weights = np.exp(below_most_likely / self._params.temperature)
        weights /= weights.sum()
        ids = _find_nucleus(weights, self._params.top_p)
        cumulative = weights[ids].cumsum()
        draw = self._random.random() * cumulative[-1]
        return int(ids[np.searchsorted(cumulative, draw, side="right")])


def _find_nucleus(weights: npt.NDArray[np.float64], top_p: float) -> npt.NDArray[np.int64]:
    """Return the smallest set of tokens with mass `top_p`, most likely first, ties by token id.

    Holtzman et al. 2020, arXiv 1904.09751.
    """
    if top_p == 1.0:
        return np.arange(len(weights))
    ids = np.arange(len(weights))
    if len(weights) > _CANDIDATES:
        likely = np.argpartition(weights, -_CANDIDATES)[-_CANDIDATES:]
        # Tokens as likely as the last candidate are cut off arbitrarily, so none of them counts.
        likely = likely[weights[likely] > weights[likely].min()]
        if weights[likely].sum() >= top_p:
            ids = likely
    ids = ids[np.lexsort((ids, -weights[ids]))]
    size = int(np.searchsorted(weights[ids].cumsum(), top_p)) + 1
    return ids[:size]
