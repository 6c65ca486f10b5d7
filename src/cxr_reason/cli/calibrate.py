"""`cxr-reason calibrate`: films with known labels → the thresholds of a finding's state."""

from __future__ import annotations

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
from cxr_reason.settings import SETTINGS, TEMPERATURE_OF_SEVERAL_TRACES, ReadingSettings


def calibrate(
    data: Data,
    output: Annotated[Path, typer.Option(help="File to write, for `--calibration` of serve.")],
    checkpoint: Checkpoint = None,
    engine: EngineDir = None,
    server: Server = None,
    limit: Limit = None,
    num_traces: Annotated[
        int,
        typer.Option(
            min=2,
            max=int(SETTINGS["num_traces"].maximum),
            help="Traces of each film, as many as readings will have.",
        ),
    ] = 8,
    temperature: Temperature = TEMPERATURE_OF_SEVERAL_TRACES,
    max_tokens: MaxTokens = ReadingSettings.max_tokens,
    prompt: Prompt = FIND_ABNORMALITIES,
    seed: Seed = 0,
    max_batch: MaxBatch = 8,
    device: Device = "cpu",
    resume: Resume = None,
) -> None:
    """Choose the thresholds by which readings with several traces call a finding present.

    The films must not be a test set: thresholds chosen on it would make it look better than it is.
    Needs the extra `evaluate`; with --checkpoint also `build`. See docs/engine.md.

    Example: cxr-reason calibrate --engine engines/nano --data phantoms:validation --output cal.json
    """
    subject = Subject(data, checkpoint, engine, server, limit, prompt, max_batch, device, resume)
    check_subject(subject, what="calibrate")
    # What these import comes with the extra.
    from cxr_reason.evaluation.calibrate import calibrate as choose_thresholds
    from cxr_reason.evaluation.calibrate import write_calibration
    from cxr_reason.evaluation.cases import parse_source
    from cxr_reason.evaluation.evaluate import EvaluationSettings

    if parse_source(data).split == "test":
        raise BadRequestError(
            "data: a test split; give another one, such as phantoms:validation", param="data"
        )
    if not output.absolute().parent.is_dir():
        raise BadRequestError("output: its folder does not exist; make it, or give another")
    settings = EvaluationSettings(num_traces, temperature, max_tokens, seed, faithfulness=0)
    evaluation, origin = read_films(subject, settings)
    source = f"{evaluation.num_films} films of {origin['data']}, {num_traces} traces each"
    calibration = choose_thresholds(evaluation.sample, source)
    write_calibration(calibration, output)
    console = Console(highlight=False)
    console.print(f"thresholds of {len(calibration.thresholds)} labels from {source}: {output}")
