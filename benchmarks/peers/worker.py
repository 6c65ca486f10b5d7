"""Prepares or measures one contender in a process of its own; the benchmark starts it.

    python worker.py SCRIPT JOB.json EVENTS.jsonl

Runs in the contender's virtual environment, so it needs only the standard library. SCRIPT has:

    prepare(job)                      makes `job["model"]`, a folder; may be left out
    load(job) → contender             a loaded model, whose methods are
        generate(film, job, on_token) → (prompt tokens, generated tokens)
        generate_many(films, job) → generated tokens of all;  left out if it cannot batch
        decoder_bytes                 of the weights that one token reads; only ours has it

`on_token` is called as each token comes, if the contender shows it. Every event is one line
of JSON, written at once: events before a failure count. All films are different and of one size:
nothing that a contender caches for one helps with another.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

Job = dict[str, Any]
Emit = Callable[[dict[str, Any]], None]


def main(arguments: list[str]) -> None:
    """Do what the job says: prepare, or measure."""
    script, job_path, events_path = (Path(argument) for argument in arguments)
    # The folder of this file must not hide a contender's packages.
    sys.path.pop(0)
    job = json.loads(job_path.read_text(encoding="utf-8"))
    module = load_script(script)
    with events_path.open("w", encoding="utf-8") as events:

        def emit(event: dict[str, Any]) -> None:
            events.write(json.dumps(event) + "\n")
            events.flush()

        if job["task"] == "prepare":
            if hasattr(module, "prepare"):
                module.prepare(job)
        else:
            measure(module.load(job), job, emit)
        emit({"event": "done"})


def load_script(path: Path) -> ModuleType:
    """Import a Python file by its path."""
    spec = importlib.util.spec_from_file_location("contender", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(contender: Any, job: Job, emit: Emit) -> None:
    """Time requests one at a time, one film again, then several at once."""
    # The same clock in every process of the machine (Linux).
    emit(
        {
            "event": "ready",
            "clock_s": time.monotonic(),
            "decoder_bytes": getattr(contender, "decoder_bytes", None),
        }
    )
    films = iter(job["films"])
    film = next(films)
    # The first request may compile or read what loading left for later: it is told apart.
    emit({"event": "first", **time_one(contender, film, {**job, "tokens": 1})})
    for _ in range(job["runs"]):
        film = next(films)
        times = time_one(contender, film, job)
        if times["time_per_token_s"] is None:
            film = next(films)
            times |= _infer_times(times, time_one(contender, film, {**job, "tokens": 1}))
        emit({"event": "single", **times})
    for _ in range(job["runs"]):
        emit({"event": "again", **time_one(contender, film, {**job, "tokens": 1})})
    emit({"event": "one at a time done"})
    if hasattr(contender, "generate_many"):
        for concurrency in job["concurrency"]:
            for _ in range(job["batch_runs"]):
                batch = [next(films) for _ in range(concurrency)]
                emit({"event": "batch", **time_many(contender, batch, job)})


def time_one(contender: Any, film: str, job: Job) -> dict[str, Any]:
    """Return the times of one request, in seconds."""
    times_s: list[float] = []
    start_s = time.perf_counter()
    prompt_tokens, tokens = contender.generate(
        film, job, lambda: times_s.append(time.perf_counter())
    )
    end_s = time.perf_counter()
    return {
        "time_to_first_token_s": (times_s[0] if times_s else end_s) - start_s,
        "time_per_token_s": _time_per_token(times_s, tokens),
        # The median alone would hide stalls, and tokens that are handed over in bunches.
        "mean_time_per_token_s": _mean_time_per_token(times_s, tokens),
        "end_to_end_s": end_s - start_s,
        "prompt_tokens": prompt_tokens,
        "tokens": tokens,
    }


def _time_per_token(times_s: list[float], tokens: int) -> float | None:
    """Return the median gap; None where several tokens came as one."""
    if len(times_s) < max(2, tokens):
        return None
    return statistics.median(after - before for before, after in itertools.pairwise(times_s))


def _mean_time_per_token(times_s: list[float], tokens: int) -> float | None:
    """Return the time from first to last over the tokens after the first."""
    return (times_s[-1] - times_s[0]) / (tokens - 1) if min(tokens, len(times_s)) > 1 else None


def _infer_times(many: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
    """Return the times of a contender that does not hand over every token, from a request for one.

    mistral.rs keeps a token back until it completes a character, and for ever if it has no text, as
    is the case for most tokens of random weights.
    """
    if many["tokens"] < 2:
        return {}
    rest_s = many["end_to_end_s"] - one["end_to_end_s"]
    return {
        "time_to_first_token_s": one["end_to_end_s"],
        "mean_time_per_token_s": rest_s / (many["tokens"] - 1),
    }


def time_many(contender: Any, films: list[str], job: Job) -> dict[str, Any]:
    """Return the tokens per second of one request a film, all at once."""
    start_s = time.perf_counter()
    tokens = contender.generate_many(films, {**job, "tokens": job["batch_tokens"]})
    seconds = time.perf_counter() - start_s
    return {"concurrency": len(films), "tokens": tokens, "tokens_per_s": tokens / seconds}


if __name__ == "__main__":
    main(sys.argv[1:])
