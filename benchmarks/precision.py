"""How far each precision of the onnx engine is from transformers in fp32.

    python -m cxr_reason.benchmarks.precision --checkpoint checkpoints/nano --films 200

On the first films of the phantom test set: the visual tokens; the logits when each engine is given
the tokens that transformers generates in fp32, one by one; and the readings when it generates by
itself. The last line is JSON. Metrics:

- visual tokens, error: Frobenius norm of the difference over that of fp32; median of the films;
- logits, cosine and error, and tokens, agreement (the same most likely token): median of the films;
- texts, equal: share of the films;
- findings, agreement: of the findings that either reading lists, the share that both list with the
  same status;
- answers, agreement: of the labels that either answer names, the share that both name.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from rich.console import Console
from rich.progress import track

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine import sequence
from cxr_reason.engine.base import Array, Engine, GenerationRequest, SamplingParams
from cxr_reason.engine.build import plan_build, run_build
from cxr_reason.engine.plan import read_budget
from cxr_reason.engine.reference.engine import ReferenceEngine
from cxr_reason.engine.registry import find_backend, load_engine
from cxr_reason.engine.sampling import Sampler
from cxr_reason.evaluation.cases import load_cases, parse_source
from cxr_reason.evaluation.result_line import describe_machine, make_report
from cxr_reason.kernels.preprocess import Grid
from cxr_reason.prompts import FIND_ABNORMALITIES, parse_prompt
from cxr_reason.reader.encoder import FilmPreprocessor
from cxr_reason.reading.audit import audit_trace
from cxr_reason.reading.trace import parse_trace

MAX_TOKENS = 800
PACKAGES = ("onnxruntime", "onnxruntime-genai", "transformers", "torch")


@dataclass(frozen=True)
class Film:
    """A film's patches, as every engine gets them."""

    patches: Array
    grid: Grid


@dataclass(frozen=True)
class EngineOutput:
    """What an engine makes of a film: visual tokens, logits `[steps, vocab]`, tokens and text."""

    visual: Array
    logits: Array
    tokens: tuple[int, ...]
    text: str


class ForcedSampler(Sampler):
    """Keeps the logits of every step and answers with given tokens, or greedily."""

    forced: ClassVar[tuple[int, ...]] = ()
    logits: ClassVar[list[Array]] = []

    def choose(self, logits: Array) -> int:
        """See `Sampler`."""
        step = len(self.logits)
        self.logits.append(logits.copy())
        return self.forced[step] if self.forced else int(logits.argmax())


def generate(engine: Engine, film: Film, forced: tuple[int, ...] = ()) -> EngineOutput:
    """Generate freely, or with the tokens given."""
    ForcedSampler.forced, ForcedSampler.logits = forced, []
    visual = engine.encode(film.patches, (film.grid.height, film.grid.width))
    sampling = SamplingParams(max_tokens=len(forced) or MAX_TOKENS)
    events = list(
        engine.submit(GenerationRequest(parse_prompt(FIND_ABNORMALITIES), visual, sampling))
    )
    return EngineOutput(
        visual.tokens,
        np.stack(ForcedSampler.logits),
        tuple(event.token_id for event in events),
        "".join(event.text for event in events),
    )


def compare(engine: Engine, film: Film, exact: EngineOutput) -> dict[str, float]:
    """Compare one engine with the oracle on one film."""
    forced = generate(engine, film, exact.tokens)
    free = generate(engine, film)
    own, logits = forced.logits, exact.logits
    norms = np.linalg.norm(own, axis=1), np.linalg.norm(logits, axis=1)
    cosines = (own * logits).sum(1) / norms[0] / norms[1]
    errors = np.linalg.norm(own - logits, axis=1) / norms[1]
    (statuses, answer), (true_statuses, true_answer) = read(free.text), read(exact.text)
    return {
        "visual tokens, error": relative_error(forced.visual, exact.visual),
        "logits, cosine": float(np.median(cosines)),
        "logits, error": float(np.median(errors)),
        "tokens, agreement": float((own.argmax(1) == logits.argmax(1)).mean()),
        "texts, equal": float(free.text == exact.text),
        "findings in both": float(len(statuses & true_statuses)),
        "findings in either": float(len({*dict(statuses), *dict(true_statuses)})),
        "labels in both": float(len(answer & true_answer)),
        "labels in either": float(len(answer | true_answer)),
    }


def read(text: str) -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    """Return the findings of an output with their status, and the labels of its answer."""
    trace = parse_trace(text, truncated=False)
    findings, _ = audit_trace(trace)
    return frozenset((one.label, one.status) for one in findings), frozenset(trace.labels)


def relative_error(value: Array, exact: Array) -> float:
    """Return the norm of the difference over that of the exact value."""
    return float(np.linalg.norm(value - exact) / np.linalg.norm(exact))


def summarize(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return one value for each metric over the films."""
    total = {name: sum(row[name] for row in rows) for name in rows[0]}
    medians = ("visual tokens, error", "logits, cosine", "logits, error", "tokens, agreement")
    return {
        **{name: statistics.median(row[name] for row in rows) for name in medians},
        "texts, equal": total["texts, equal"] / len(rows),
        "findings, agreement": total["findings in both"] / total["findings in either"],
        "answers, agreement": total["labels in both"] / total["labels in either"],
    }


def load_films(checkpoint: Checkpoint, count: int) -> list[Film]:
    """Return the first films of the phantom test set."""
    films = []
    preprocess = FilmPreprocessor(read_budget(checkpoint))
    for case in load_cases(parse_source("phantoms"), count, seed=0):
        film = preprocess(case.load())
        films.append(Film(film.patches, film.grid))
    return films


def main() -> None:
    """Build the engines, compare, print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/nano"))
    parser.add_argument("--films", type=int, default=200)
    arguments = parser.parse_args()
    checkpoint = Checkpoint(arguments.checkpoint)
    sequence.Sampler = ForcedSampler  # type: ignore[attr-defined]
    console = Console()
    console.print(f"machine: {describe_machine()}", highlight=False)
    films = load_films(checkpoint, arguments.films)
    with ReferenceEngine(checkpoint) as reference:
        exact = [generate(reference, film) for film in track(films, "transformers fp32")]
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for precision in reversed(find_backend("onnx").precisions):
            output = Path(folder) / precision
            plan = plan_build(checkpoint, backend="onnx", precision=precision, output=output)
            run_build(plan, lambda step, part: None)
            with load_engine(output) as engine:
                pairs = zip(track(films, precision), exact, strict=True)
                rows = [compare(engine, film, oracle) for film, oracle in pairs]
            for metric, value in summarize(rows).items():
                console.print(f"{precision:5} {metric:22} {value:10.6f}", highlight=False)
                results.append(make_row(precision, metric, value, len(films)))
    print(make_report("precision", PACKAGES, results))


def make_row(precision: str, metric: str, value: float, num_films: int) -> dict[str, Any]:
    """Return one result; errors have no value to be compared with."""
    perfect = None if metric.endswith("error") else 1.0
    return {
        "case": f"{precision}, phantom test set",
        "metric": metric,
        "unit": "1",
        "ours": value,
        "baseline": "transformers fp32",
        "baseline_value": perfect,
        "ratio": value if perfect else None,
        "runs": num_films,
    }


if __name__ == "__main__":
    main()
