"""How far each precision of the onnx decoder is from transformers in fp32.

    python benchmarks/precision.py --checkpoint checkpoints/nano FILM [FILM …]

For each film, transformers generates greedily in fp32. Then each engine is given the same tokens,
one by one, and its logits at every step are compared: cosine, and whether the most likely token is
the same (agreement, teacher-forced). "Prefix" is the number of tokens that the engine generates
alike when it runs freely. The last line is JSON.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine import sequence
from cxr_reason.engine.artifact import PRECISIONS
from cxr_reason.engine.base import Array, Engine, GenerationRequest, SamplingParams
from cxr_reason.engine.build import plan_build, read_budget, run_build
from cxr_reason.engine.reference.engine import ReferenceEngine
from cxr_reason.engine.registry import load_engine
from cxr_reason.kernels.preprocess import Grid, fit_grid, preprocess
from cxr_reason.machine import describe_machine, make_report
from cxr_reason.prompts import FIND_ABNORMALITIES, parse_prompt
from cxr_reason.radiograph import decode_radiograph

NUM_TOKENS = 128
PACKAGES = ("onnxruntime", "onnxruntime-genai", "transformers", "torch")


class ForcedSampler(sequence.Sampler):
    """Keeps the logits of every step and answers with given tokens, or greedily."""

    forced: ClassVar[tuple[int, ...]] = ()
    logits: ClassVar[list[Array]] = []

    def choose(self, logits: Array) -> int:
        """See `Sampler`."""
        step = len(self.logits)
        self.logits.append(logits.copy())
        return self.forced[step] if self.forced else int(logits.argmax())


def generate(
    engine: Engine, patches: Array, grid: Grid, forced: tuple[int, ...] = ()
) -> tuple[tuple[int, ...], Array]:
    """Return tokens and logits `[steps, vocab]`, freely or with the tokens given."""
    ForcedSampler.forced, ForcedSampler.logits = forced, []
    request = GenerationRequest(
        parse_prompt(FIND_ABNORMALITIES),
        engine.encode(patches, (grid.height, grid.width)),
        SamplingParams(max_tokens=len(forced) or NUM_TOKENS),
    )
    tokens = tuple(event.token_id for event in engine.submit(request))
    return tokens, np.stack(ForcedSampler.logits)


def compare(
    engine: Engine, patches: Array, grid: Grid, expected: tuple[tuple[int, ...], Array]
) -> dict[str, float]:
    """Compare one engine with the oracle on one film."""
    tokens, logits = expected
    _, own = generate(engine, patches, grid, forced=tokens)
    cosines = (own * logits).sum(1) / np.linalg.norm(own, axis=1) / np.linalg.norm(logits, axis=1)
    free, _ = generate(engine, patches, grid)
    same = [a == b for a, b in zip(free, tokens, strict=False)]
    return {
        "logit cosine, lowest": float(cosines.min()),
        "logit cosine, median": float(np.median(cosines)),
        "token agreement": float((own.argmax(1) == logits.argmax(1)).mean()),
        "equal prefix": float(same.index(False) if False in same else len(same)),
    }


def main() -> None:
    """Build the engines, compare, print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/nano"))
    parser.add_argument("films", type=Path, nargs="+", help="chest films: DICOM, PNG or JPEG")
    arguments = parser.parse_args()
    checkpoint = Checkpoint(arguments.checkpoint)
    sequence.Sampler = ForcedSampler  # type: ignore[misc]

    films = []
    for path in arguments.films:
        film = decode_radiograph(path.read_bytes())
        grid = fit_grid(film.info.height_px, film.info.width_px, read_budget(checkpoint))
        films.append((preprocess(film.pixels, film.display_table, grid), grid))
    with ReferenceEngine(checkpoint) as reference:
        expected = [generate(reference, *film) for film in films]

    print(f"machine: {describe_machine()}")
    print(f"checkpoint: {arguments.checkpoint}, {len(films)} films, {NUM_TOKENS} tokens each")
    if checkpoint.notice:
        print(f"notice: {checkpoint.notice}")
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for precision in PRECISIONS:
            output = Path(folder) / precision
            plan = plan_build(checkpoint, backend="onnx", precision=precision, output=output)
            run_build(plan, lambda step, part: None)
            with load_engine(output) as engine:
                rows = [
                    compare(engine, *film, oracle)
                    for film, oracle in zip(films, expected, strict=True)
                ]
            for metric in rows[0]:
                values = [row[metric] for row in rows]
                value = min(values) if "lowest" in metric else statistics.median(values)
                perfect = float(NUM_TOKENS) if metric == "equal prefix" else 1.0
                print(f"{precision:5} {metric:22} {value:10.6f}")
                results.append(
                    {
                        "case": precision,
                        "metric": metric,
                        "unit": "tokens" if metric == "equal prefix" else "1",
                        "ours": value,
                        "baseline": "transformers fp32",
                        "baseline_value": perfect,
                        "ratio": value / perfect,
                        "runs": len(films),
                    }
                )
    print(make_report("precision", PACKAGES, results))


if __name__ == "__main__":
    sys.exit(main())
