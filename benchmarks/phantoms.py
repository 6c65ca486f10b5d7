"""How many phantoms a second: in one process, and in several.

    python -m cxr_reason.benchmarks.phantoms [--size 320] [--films 400] [--workers 2] [--runs 5]

Films are those that training draws: random findings, noise, everything. The rate of one process is
given by the clock and by its processor time; on a machine that does other work besides, the second
says what the code costs. The load average is printed and is in the last line, which is JSON.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

from cxr_reason.data.phantoms import generate_many
from cxr_reason.evaluation.result_line import describe_machine, make_report

AIM_FILMS_PER_S = 40.0
PACKAGES = ("numpy",)


def time_films(size_px: int, first: int, count: int, workers: int) -> tuple[float, float]:
    """Return films a second by the clock and by this process's processor time.

    The first films of each worker are not counted: processes start and modules load.
    """
    warm_up = 16 * workers
    films = generate_many(range(first, first + warm_up + count), size_px, num_workers=workers)
    for _ in range(warm_up):
        next(films)
    clock_s, processor_s = time.perf_counter(), time.process_time()
    made = sum(1 for _ in films)
    clock_s, processor_s = time.perf_counter() - clock_s, time.process_time() - processor_s
    return made / clock_s, made / processor_s


def main() -> None:
    """Measure, print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--films", type=int, default=400)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    print(describe_machine())
    rates: dict[str, list[float]] = {}
    loads = []
    for run in range(arguments.runs):
        loads.append(os.getloadavg()[0])
        first = run * 10_000
        clock, processor = time_films(arguments.size, first, arguments.films // 2, 1)
        many, _ = time_films(arguments.size, first, arguments.films, arguments.workers)
        rates.setdefault("1 process, clock", []).append(clock)
        rates.setdefault("1 process, processor time", []).append(processor)
        rates.setdefault(f"{arguments.workers} processes, clock", []).append(many)
    load = f"load average {min(loads):.1f} to {max(loads):.1f}"
    print(load)
    results: list[dict[str, Any]] = []
    for case, values in rates.items():
        rate = statistics.median(values)
        print(f"{case:28} {rate:6.1f} films/s   {min(values):6.1f} to {max(values):6.1f}")
        results.append(
            {
                "case": f"{arguments.size} px, {case}; {load}",
                "metric": "phantoms",
                "unit": "films/s",
                "ours": round(rate, 1),
                "baseline": "aim, 2 cores",
                "baseline_value": AIM_FILMS_PER_S,
                "ratio": round(rate / AIM_FILMS_PER_S, 2),
                "runs": len(values),
            }
        )
    print(make_report("phantoms", PACKAGES, results))


if __name__ == "__main__":
    main()
