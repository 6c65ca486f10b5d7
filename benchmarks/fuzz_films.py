"""Mutated films by the thousand: no crash, no untyped error, no header text in any message.

    python -m cxr_reason.benchmarks.fuzz_films [--by structure] [--by coverage] [--runs 10000]
        [--seed 0] [--output FILE]

`structure`: films with something wrong in their elements, drawn by hypothesis
(`film_mutations.py`). `coverage`: bytes that libFuzzer changes so that they reach new lines of
`cxr_reason.film` and pydicom, starting from the same films; needs the package atheris, which no
extra brings (`pip install atheris`), and is left out with a message where it is not installed.

Each runs in a process of its own, which decodes, and resizes at a small budget of pixels, so that a
crash of a native decoder is seen and counted; it then goes on behind it with the next seed. A
film that breaks a rule is written to a folder that is named at the end; keep it to yourself if it
crashes a library of others. The last line is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from cxr_reason.benchmarks.film_seeds import dicom_seeds, raster_seeds, write
from cxr_reason.benchmarks.film_trial import has_canary, try_film
from cxr_reason.evaluation.result_line import make_report

_NAME = "cxr_reason.benchmarks.fuzz_films"
PACKAGES = ("numpy", "pydicom", "imagecodecs", "pillow", "hypothesis", "atheris")
MODES = ("structure", "coverage")
_MOST_CRASHES = 5
_MOST_S = 20  # that one film may take
_MOST_MIB = 2048
_SAVE_EVERY = 100
_MAX_FILM_BYTES = 1 << 18
# What libFuzzer follows is instrumented when it is imported, so before this module.
_INSTRUMENTED = """
import atheris
with atheris.instrument_imports(include=["cxr_reason.film", "pydicom"]):
    from cxr_reason.benchmarks import fuzz_films
fuzz_films.main()
"""


class Tally:
    """Counts outcomes in the child, and keeps them in a file in case it crashes.

    Args:
        folder: Gets the counts, the film at hand, and films that break a rule.
        runs: How many films there will be.
    """

    def __init__(self, folder: Path, runs: int) -> None:
        self._folder, self._runs = folder, runs
        self._outcomes: Counter[str] = Counter()
        self._problems: Counter[str] = Counter()
        self._slowest_s, self._total_s, self._done = 0.0, 0.0, 0

    @property
    def done(self) -> int:
        """Films so far."""
        return self._done

    def try_next(self, data: bytes) -> None:
        """Read one film and count what became of it."""
        (self._folder / "at_hand").write_bytes(data)
        start_s = time.monotonic()
        trial = try_film(data)
        took_s = time.monotonic() - start_s
        self._done += 1
        self._total_s += took_s
        self._outcomes[trial.outcome] += 1
        problems = [*trial.problems, *(["slower than the limit"] if took_s > _MOST_S else [])]
        for problem in problems:
            self._problems[problem] += 1
            (self._folder / f"problem-{self._done}").write_bytes(data)
        if took_s > self._slowest_s:
            self._slowest_s = took_s
            (self._folder / "slowest").write_bytes(data)
        if self._done % _SAVE_EVERY == 0 or self._done >= self._runs or problems:
            self.save()

    def save(self) -> None:
        """Write the counts."""
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        counts = {
            "films": self._done,
            "outcomes": dict(self._outcomes),
            "problems": dict(self._problems),
            "slowest_s": round(self._slowest_s, 3),
            "mean_s": round(self._total_s / max(self._done, 1), 5),
            "peak_mib": round(peak_mib),
        }
        (self._folder / "counts.json").write_text(json.dumps(counts), encoding="utf-8")


def run_structure(tally: Tally, runs: int, seed: int) -> None:
    """Draw films with hypothesis until there were enough."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as set_seed

    from cxr_reason.benchmarks.film_mutations import film_bytes

    @set_seed(seed)
    @settings(
        max_examples=runs,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(film_bytes)
    def try_films(data: bytes) -> None:
        tally.try_next(data)

    try_films()
    tally.save()


def run_coverage(tally: Tally, runs: int, seed: int, folder: Path) -> None:
    """Let libFuzzer change films; it ends the process."""
    import atheris

    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    seeds = {name: write(film) for name, film in dicom_seeds().items()} | raster_seeds()
    for name, data in seeds.items():
        (corpus / name).write_bytes(data)
    options = [
        *(f"-runs={runs}", f"-seed={seed + 1}", f"-max_len={_MAX_FILM_BYTES}", "-len_control=0"),
        *(f"-timeout={_MOST_S}", f"-rss_limit_mb={_MOST_MIB}", f"-artifact_prefix={folder}/"),
        *("-print_final_stats=1", str(corpus)),
    ]
    atheris.Setup([sys.argv[0], *options], tally.try_next)
    atheris.Fuzz()


def measure(mode: str, runs: int, seed: int, folder: Path) -> dict[str, Any]:
    """Run one mode in child processes, and return its row."""
    parts: list[dict[str, Any]] = []
    crashes: list[str] = []
    left = runs
    while left > 0 and len(crashes) < _MOST_CRASHES:
        place = folder / f"{mode}-{len(parts)}"
        place.mkdir()
        start = ["-c", _INSTRUMENTED] if mode == "coverage" else ["-m", _NAME]
        command = [sys.executable, *start, "--child", str(place)]
        command += ["--by", mode, "--runs", str(left), "--seed", str(seed + 1000 * len(parts))]
        with (place / "log").open("wb") as log:
            code = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
        counts: dict[str, Any] = {"films": 0, "outcomes": {}, "problems": {}}
        with contextlib.suppress(FileNotFoundError):
            counts = json.loads((place / "counts.json").read_text(encoding="utf-8"))
        if has_canary(_own_lines(place / "log")):
            counts["problems"]["header text on the terminal"] = 1
        parts.append(counts)
        left -= max(counts["films"], 1)
        if code == 0:
            break
        crashes.append(f"ended with code {code}")
    outcomes: Counter[str] = Counter()
    problems: Counter[str] = Counter(crashes)
    for part in parts:
        outcomes.update(part["outcomes"])
        problems.update(part["problems"])
    row = {
        "case": f"films changed by {mode}",
        "metric": "films that broke a rule",
        "unit": "films",
        "ours": sum(problems.values()),
        "films": sum(part["films"] for part in parts),
        "outcomes": dict(outcomes),
        "problems": dict(problems),
        "slowest_s": max(part.get("slowest_s", 0.0) for part in parts),
        "mean_s": parts[0].get("mean_s", 0.0),
        "peak_mib": max(part.get("peak_mib", 0) for part in parts),
        "seed": seed,
        "runs": 1,
    }
    print(f"{mode}: {row['films']} films, {dict(outcomes)}, problems {dict(problems)}")
    return row


def _own_lines(log: Path) -> str:
    """Return what was written but for libFuzzer's own lines, which show bytes that it tried."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(line for line in lines if "DE: " not in line and not line.startswith("#"))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--by", action="append", choices=MODES, help="both without it")
    parser.add_argument("--runs", type=int, default=10_000, help="films of each mode")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="file for the last line")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    modes = arguments.by or list(MODES)
    if arguments.child:
        tally = Tally(arguments.child, arguments.runs)
        if modes == ["coverage"]:
            run_coverage(tally, arguments.runs, arguments.seed, arguments.child)
        else:
            run_structure(tally, arguments.runs, arguments.seed)
        return
    if "coverage" in modes and importlib.util.find_spec("atheris") is None:
        print("coverage: left out, since atheris is not installed (pip install atheris)")
        modes = [mode for mode in modes if mode != "coverage"]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-films-"))
    rows = [measure(mode, arguments.runs, arguments.seed, folder) for mode in modes]
    print(f"films that broke a rule, and the slowest: {folder}")
    report = make_report("fuzz_films", PACKAGES, rows)
    print(report)
    if arguments.output:
        arguments.output.write_text(report + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
