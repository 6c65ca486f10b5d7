"""Reads every case and computes what the report shows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cxr_reason.engine.base import SamplingParams
from cxr_reason.errors import BadRequestError, DataError, EngineError
from cxr_reason.evaluation.bootstrap import Estimate, Floats, draw_weights, estimate, mean_defined
from cxr_reason.evaluation.cases import Case
from cxr_reason.evaluation.faithfulness import Faithfulness, choose_pairs, measure
from cxr_reason.evaluation.metrics import (
    Sample,
    calibration_error,
    label_auroc,
    label_rates,
    macro_f1,
    make_sample,
)
from cxr_reason.evaluation.run import Run
from cxr_reason.evaluation.scores import FilmScores, score_film
from cxr_reason.findings import LABELS
from cxr_reason.reading.trace import Outcome
from cxr_reason.settings import TEMPERATURE_OF_SEVERAL_TRACES

Progress = Callable[[str, int, int], None]

_GROUPS: dict[str, tuple[str, ...]] = {
    "sex": ("F", "M"),
    "age": ("<40", "40-64", "≥65"),
    "view": ("AP", "PA"),
}


@dataclass(frozen=True)
class EvaluationSettings:
    """What is done with every film.

    Attributes:
        num_traces: Traces that a label's probability is the mean of; 1 is the greedy trace itself.
        temperature: Of the sampled traces.
        max_tokens: Limit of generated tokens.
        seed: Sampled trace i has seed + i; also of the choice of films and of the bootstrap.
        faithfulness: Most films to change; 0 leaves that part out.

    Raises:
        BadRequestError: A value outside its range.
    """

    num_traces: int = 1
    temperature: float = TEMPERATURE_OF_SEVERAL_TRACES
    max_tokens: int = SamplingParams.max_tokens
    seed: int = 0
    faithfulness: int = 100

    def __post_init__(self) -> None:
        if self.num_traces < 1 or self.faithfulness < 0:
            raise BadRequestError(
                "evaluate: num_traces must be at least 1, faithfulness at least 0"
            )
        if self.num_traces > 1 and self.temperature <= 0.0:
            raise BadRequestError("evaluate: several traces need a temperature over 0")

    @property
    def samplings(self) -> tuple[SamplingParams, ...]:
        """The greedy trace, which the answers are taken from, then the sampled ones."""
        greedy = SamplingParams(max_tokens=self.max_tokens, temperature=0.0)
        if self.num_traces == 1:
            return (greedy,)
        seeds = range(self.seed, self.seed + self.num_traces)
        return (
            greedy,
            *(SamplingParams(self.max_tokens, self.temperature, seed=seed) for seed in seeds),
        )


@dataclass(frozen=True)
class LabelResult:
    """One label, over the films where it is known.

    Attributes:
        label: One of `findings.LABELS`.
        num_known: Films where the source states it as present or absent.
        num_present: Of these, present.
        num_answered: Of these, named by the answer.
        f1: Undefined without a positive film.
        precision: Undefined where no answer names it.
        recall: Undefined without a positive film.
        auroc: Undefined with one class only.
    """

    label: str
    num_known: int
    num_present: int
    num_answered: int
    f1: Estimate
    precision: Estimate
    recall: Estimate
    auroc: Estimate


@dataclass(frozen=True)
class GroupResult:
    """Films that have something in common.

    Attributes:
        attribute: "sex", "age" or "view".
        value: Of the attribute.
        num_films: Films read.
        macro_f1: Over the labels with a positive film in the group.
    """

    attribute: str
    value: str
    num_films: int
    macro_f1: Estimate


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that was measured.

    Attributes:
        num_films: Films read.
        errors: Films that failed, by code of the error; they are in no metric.
        labels: In the order of `findings.LABELS`.
        macro_f1: Mean F1 over the labels with a positive film.
        macro_auroc: Mean over the labels with both classes.
        calibration_error: See `metrics.calibration_error`.
        outcomes: Share of the greedy traces by outcome; "complete" is the trained form.
        agreement: Share of the answers with labels that do not contradict their reasoning; None
            without such answers.
        consistency: Mean of `rewards.consistency_reward`.
        tokens_per_trace: Mean.
        films_per_s: Of this run, faithfulness left out; None where a record held all films.
        tokens_per_s: Likewise, generated tokens.
        groups: Subgroups with films.
        faithfulness: None where it was left out or no film has boxes to cover.
        sample: Truth and readings, for the curves.
    """

    num_films: int
    errors: Mapping[str, int]
    labels: tuple[LabelResult, ...]
    macro_f1: Estimate
    macro_auroc: Estimate
    calibration_error: Estimate
    outcomes: Mapping[str, float]
    agreement: float | None
    consistency: float
    tokens_per_trace: float
    films_per_s: float | None
    tokens_per_s: float | None
    groups: tuple[GroupResult, ...]
    faithfulness: Faithfulness | None
    sample: Sample


def evaluate_cases(
    cases: Sequence[Case],
    run: Run,
    settings: EvaluationSettings,
    progress: Progress = lambda step, done, total: None,
) -> Evaluation:
    """Read every case and compute the metrics.

    Args:
        cases: At least one.
        run: With `settings.samplings`.
        settings: What is measured.
        progress: Called with the step's name, what is done and the total.

    Raises:
        DataError: No case.
        EngineError: No film at all could be read.
        ServerUnavailableError: The server went away.
    """
    if not cases:
        raise DataError("data: no films; give a larger --limit or another split")
    started_s = time.perf_counter()
    scores: list[FilmScores | None] = []
    errors: Counter[str] = Counter()
    for result in run.read_all(case.load for case in cases):
        errors.update([result.error] if result.error else [])
        scores.append(score_film(result.outputs) if result.outputs else None)
        progress("reading films", len(scores), len(cases))
    elapsed_s = time.perf_counter() - started_s
    num_read, num_tokens = run.num_read, run.num_tokens
    if all(score is None for score in scores):
        raise EngineError(
            f"evaluate: none of {len(cases)} films could be read; errors: {_list(errors)}"
        )
    faithfulness = None
    if settings.faithfulness:
        is_read = [score is not None for score in scores]
        pairs = choose_pairs(cases, is_read, settings.faithfulness, seed=settings.seed)
        faithfulness = measure(
            cases,
            scores,
            pairs,
            run,
            seed=settings.seed,
            progress=lambda done, total: progress("reading changed films", done, total),
        )
    read = [(case, score) for case, score in zip(cases, scores, strict=True) if score is not None]
    kept_cases, kept = [case for case, _ in read], [score for _, score in read]
    sample = make_sample([case.labels for case in kept_cases], kept)
    weights = draw_weights(len(kept), seed=settings.seed)
    consistent = [s.num_contradictions == 0 for s in kept if s.num_contradictions is not None]
    return Evaluation(
        num_films=len(kept),
        errors=dict(errors),
        labels=_label_results(sample, weights),
        macro_f1=estimate(macro_f1(sample, weights)),
        macro_auroc=estimate(mean_defined(label_auroc(sample, weights))),
        calibration_error=estimate(calibration_error(sample, weights)),
        outcomes={o.value: sum(s.outcome is o for s in kept) / len(kept) for o in Outcome},
        agreement=sum(consistent) / len(consistent) if consistent else None,
        consistency=float(np.mean([score.consistency for score in kept])),
        tokens_per_trace=float(np.mean([score.num_tokens for score in kept])),
        films_per_s=num_read / elapsed_s if num_read else None,
        tokens_per_s=num_tokens / elapsed_s if num_read else None,
        groups=_group_results(kept_cases, sample, settings.seed),
        faithfulness=faithfulness,
        sample=sample,
    )


def _label_results(sample: Sample, weights: Floats) -> tuple[LabelResult, ...]:
    rates, auroc = label_rates(sample, weights), label_auroc(sample, weights)
    return tuple(
        LabelResult(
            label=label,
            num_known=int(sample.is_known[:, i].sum()),
            num_present=int(sample.is_present[:, i].sum()),
            num_answered=int((sample.is_known & sample.answered)[:, i].sum()),
            f1=estimate(rates.f1[:, i]),
            precision=estimate(rates.precision[:, i]),
            recall=estimate(rates.recall[:, i]),
            auroc=estimate(auroc[:, i]),
        )
        for i, label in enumerate(LABELS)
    )


def _group_results(cases: Sequence[Case], sample: Sample, seed: int) -> tuple[GroupResult, ...]:
    results = []
    for attribute, values in _GROUPS.items():
        field = {"age": "age_band"}.get(attribute, attribute)
        found = [getattr(case, field) for case in cases]
        for value in values:
            chosen = np.array([other == value for other in found])
            if num_films := int(chosen.sum()):
                weights = draw_weights(num_films, seed=seed)
                f1 = estimate(macro_f1(sample.select(chosen), weights))
                results.append(GroupResult(attribute, value, num_films, f1))
    return tuple(results)


def _list(errors: Mapping[str, int]) -> str:
    return ", ".join(f"{code} ({count})" for code, count in sorted(errors.items()))
