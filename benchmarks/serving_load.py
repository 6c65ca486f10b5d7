"""Many requests at once, each with its answer checked."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cxr_reason.benchmarks.serving_readers import Answer, Read


@dataclass(frozen=True)
class Load:
    """The results of a number of requests.

    Attributes:
        answers: In the order of the requests.
        wall_s: From the first request to the last answer.
        wrong: Answers with another text than the engine gives by itself.
        errors: Codes of errors, with their number.
    """

    answers: tuple[Answer, ...]
    wall_s: float
    wrong: int
    errors: dict[str, int]

    @property
    def time_to_first_token_s(self) -> float:
        """Median of what was answered; 0 if nothing was."""
        return _median([one.time_to_first_token_s for one in self.answers if not one.error])

    @property
    def end_to_end_s(self) -> float:
        """Median of what was answered; 0 if nothing was."""
        return _median([one.end_to_end_s for one in self.answers if not one.error])

    @property
    def tokens_per_s(self) -> float:
        """Tokens of all answers over the whole time."""
        return sum(one.tokens for one in self.answers) / self.wall_s


def run_load(
    read: Read,
    films: Sequence[bytes],
    expected: Sequence[str],
    *,
    num_requests: int,
    concurrency: int,
    max_tokens: int,
    on_answer: Callable[[], None] = lambda: None,
) -> Load:
    """Ask about the films in turn, always `concurrency` requests at once.

    Args:
        read: Sends one request and waits for its answer; called from many threads.
        films: Encoded films.
        expected: Text of each film, from the engine itself.
        num_requests: How many in all.
        concurrency: How many at once.
        max_tokens: Limit of each.
        on_answer: Called after each answer.
    """
    lock = threading.Lock()

    def ask(index: int) -> Answer:
        answer = read(films[index % len(films)], max_tokens)
        with lock:
            on_answer()
        return answer

    start_s = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        answers = tuple(pool.map(ask, range(num_requests)))
    wall_s = time.perf_counter() - start_s
    wrong = sum(
        not answer.error and answer.text != expected[index % len(films)]
        for index, answer in enumerate(answers)
    )
    errors = Counter(answer.error for answer in answers if answer.error)
    return Load(answers, wall_s, wrong, dict(errors))


def _median(values: list[float]) -> float:
    return statistics.median(values) if values else 0.0
