"""`cxr-reason calibrate`: known films → thresholds of a finding's state, and what a film is."""

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
    make_film_gate,
    read_films,
)
from cxr_reason.errors import BadRequestError
from cxr_reason.prompts import FIND_ABNORMALITIES
from cxr_reason.settings import SETTINGS, TEMPERATURE_OF_SEVERAL_TRACES, ReadingSettings


def calibrate(
    data: Data,
    output: Annotated[
        Path | None, typer.Option(help="Thresholds to write, for `--calibration` of serve.")
    ] = None,
    film_gate: Annotated[
        Path | None,
        typer.Option(
            help="File to write for `--film-gate` of serve, which flags what is no frontal chest "
            "film. Needs --engine and 200 films; labels do not matter."
        ),
    ] = None,
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

    With --film-gate, describe the films as well, so that what looks unlike them gets a flag.

    The films must not be a test set: thresholds chosen on it would make it look better than it is.
    Needs the extra `evaluate`; with --checkpoint also `build`. See docs/engine.md.

    Example: cxr-reason calibrate --engine engines/nano --data phantoms:validation --output cal.json
    """
    subject = Subject(data, checkpoint, engine, server, limit, prompt, max_batch, device, resume)
    check_subject(subject, what="calibrate")
    files = [file for file in (output, film_gate) if file is not None]
    if not files:
        raise BadRequestError("calibrate: nothing to write; give --output, --film-gate or both")
    if film_gate is not None and engine is None:
        raise BadRequestError("film_gate: made from an engine's visual tokens; give --engine")
    # What these import comes with the extra.
    from cxr_reason.evaluation.calibrate import calibrate as choose_thresholds
    from cxr_reason.evaluation.calibrate import write_calibration
    from cxr_reason.evaluation.cases import parse_source
    from cxr_reason.evaluation.evaluate import EvaluationSettings
    from cxr_reason.reader.film_gate import write_film_gate

    if parse_source(data).split == "test":
        raise BadRequestError(
            "data: a test split; give another one, such as phantoms:validation", param="data"
        )
    if not all(file.absolute().parent.is_dir() for file in files):
        raise BadRequestError("output: its folder does not exist; make it, or give another")
    console = Console(highlight=False, emoji=False)  # `:train` of a source is no emoji
    if film_gate is not None:
        gate = make_film_gate(subject, seed)
        write_film_gate(gate, film_gate)
        console.print(f"film gate from {gate.source}: {film_gate}")
    if output is None:
        return
    settings = EvaluationSettings(num_traces, temperature, max_tokens, seed, faithfulness=0)
    evaluation, origin = read_films(subject, settings)
    source = f"{evaluation.num_films} films of {origin['data']}, {num_traces} traces each"
    calibration = choose_thresholds(evaluation.sample, source)
    write_calibration(calibration, output)
    console.print(f"thresholds of {len(calibration.thresholds)} labels from {source}: {output}")
