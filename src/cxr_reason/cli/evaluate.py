"""`cxr-reason evaluate`: measure a checkpoint, an engine or a server on films with known labels."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cxr_reason.cli.evaluation_run import (
    Checkpoint,
    Data,
    Device,
    EngineDir,
    Limit,
    MaxBatch,
    MaxTokens,
    Prompt,
    Resume,
    Seed,
    Server,
    Subject,
    Temperature,
    check_subject,
    read_films,
)
from cxr_reason.errors import BadRequestError
from cxr_reason.prompts import FIND_ABNORMALITIES
from cxr_reason.settings import TEMPERATURE_OF_SEVERAL_TRACES, ReadingSettings


def evaluate(
    data: Data,
    checkpoint: Checkpoint = None,
    engine: EngineDir = None,
    server: Server = None,
    limit: Limit = None,
    num_traces: Annotated[
        int,
        typer.Option(
            min=1, help="Traces over which probabilities are averaged; 1 uses the greedy trace."
        ),
    ] = 1,
    temperature: Temperature = TEMPERATURE_OF_SEVERAL_TRACES,
    max_tokens: MaxTokens = ReadingSettings.max_tokens,
    prompt: Prompt = FIND_ABNORMALITIES,
    seed: Seed = 0,
    faithfulness: Annotated[
        int, typer.Option(min=0, help="Most films of the faithfulness test; 0 skips it.")
    ] = 100,
    max_batch: MaxBatch = 8,
    device: Device = "cpu",
    resume: Resume = None,
    report: Annotated[Path | None, typer.Option(help="HTML report to write.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Measure a checkpoint, an engine or a server on films with known labels.

    Needs the extra `evaluate`; with --checkpoint also `build`. See docs/evaluation.md.

    Example: cxr-reason evaluate --engine engines/nano --data phantoms --limit 20 --max-tokens 64
    """
    subject = Subject(data, checkpoint, engine, server, limit, prompt, max_batch, device, resume)
    check_subject(subject, what="evaluate")
    # What these import comes with the extra.
    from cxr_reason.evaluation.evaluate import EvaluationSettings
    from cxr_reason.evaluation.report import write_report
    from cxr_reason.evaluation.summary import print_summary, to_json

    settings = EvaluationSettings(num_traces, temperature, max_tokens, seed, faithfulness)
    if report is not None and not report.absolute().parent.is_dir():
        raise BadRequestError("report: the folder for it does not exist; make it, or give another")
    evaluation, origin = read_films(subject, settings)
    # With --json, stdout is for that line alone.
    print_summary(Console(stderr=as_json), evaluation, title=f"{origin['data']}")
    if report is not None:
        command = shlex.join(["cxr-reason", *sys.argv[1:]])
        write_report(report, evaluation, {**origin, "command": command})
    if as_json:
        sys.stdout.write(to_json(evaluation, origin) + "\n")
