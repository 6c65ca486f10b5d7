"""Events of a worker → the values of one contender, and the rows that need no peer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cxr_reason.benchmarks.comparison import Measured, Value, make_row, median
from cxr_reason.benchmarks.contenders import Contender
from cxr_reason.benchmarks.worker_process import WorkerRun

TIME_TO_FIRST_TOKEN = "time to first token"
SEEN_BEFORE = f"{TIME_TO_FIRST_TOKEN}, film seen before"
TIME_PER_TOKEN = "time per token"

_GIB = 2**30


def summarize(contender: Contender, run: WorkerRun, tokens: int) -> Measured:
    """Return the medians of what a worker measured, as far as it got."""
    ready, first = events_of_kind(run, "ready"), events_of_kind(run, "first")
    single, again, batch = (events_of_kind(run, kind) for kind in ("single", "again", "batch"))
    alone = events_of_kind(run, "one at a time done")
    whole = [event["end_to_end_s"] for event in single if event["tokens"] == tokens]
    found: dict[str, Value | None] = {
        "cold start": median([event["clock_s"] - run.start_clock_s for event in ready], "s"),
        f"{TIME_TO_FIRST_TOKEN}, first request": median(_first_tokens(first), "s"),
        TIME_TO_FIRST_TOKEN: median(_first_tokens(single), "s"),
        SEEN_BEFORE: median(_first_tokens(again), "s"),
        TIME_PER_TOKEN: median(_milliseconds(single, "time_per_token_s"), "ms"),
        f"{TIME_PER_TOKEN}, mean": median(_milliseconds(single, "mean_time_per_token_s"), "ms"),
        f"end to end, {tokens} tokens": median(whole, "s"),
        "peak memory, one request at a time": median(
            [event["peak_bytes"] / _GIB for event in alone], "GiB"
        ),
    }
    for concurrency in dict.fromkeys(event["concurrency"] for event in batch):
        events = [event for event in batch if event["concurrency"] == concurrency]
        found[f"throughput, {concurrency} at once"] = median(
            [event["tokens_per_s"] for event in events], "tokens/s"
        )
    if batch:
        found["peak memory, all"] = median([run.events[-1]["peak_bytes"] / _GIB], "GiB")
    return Measured(
        contender.name,
        contender.is_ours,
        {metric: value for metric, value in found.items() if value is not None},
        prompt_tokens=single[0]["prompt_tokens"] if single else 0,
        error=run.error,
    )


def _milliseconds(events: Sequence[dict[str, Any]], key: str) -> list[float | None]:
    return [None if event[key] is None else event[key] * 1e3 for event in events]


def _first_tokens(events: Sequence[dict[str, Any]]) -> list[float]:
    return [event["time_to_first_token_s"] for event in events]


def events_of_kind(run: WorkerRun, kind: str) -> list[dict[str, Any]]:
    """Return the events of one kind, in order."""
    return [event for event in run.events if event["event"] == kind]


def row_of_repeat(case: str, one: Measured) -> dict[str, Any]:
    """Compare a film seen before with a new one, of the same contender."""
    values = one.values
    return make_row(
        f"{one.name}: {case}", SEEN_BEFORE, values[SEEN_BEFORE], f"{one.name}, new film",
        values.get(TIME_TO_FIRST_TOKEN),
    )  # fmt: skip


def row_of_bandwidth(
    case: str, one: Measured, decoder_bytes: int, bandwidth: float
) -> dict[str, Any]:
    """Compare how fast decoding reads weights with how fast this machine reads memory."""
    per_token = one.values[TIME_PER_TOKEN]
    reached = Value(decoder_bytes / (per_token.value / 1e3) / 1e9, "GB/s", per_token.runs)
    return make_row(
        f"{one.name}: {case}", "weights read in decoding", reached, "streaming read, all threads",
        Value(bandwidth / 1e9, "GB/s", 1),
    )  # fmt: skip
