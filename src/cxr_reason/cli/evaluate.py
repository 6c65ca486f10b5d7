"""`cxr-reason evaluate`: measure a checkpoint, an engine or a server on films with known labels."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cxr_reason.errors import BadRequestError, ServerError
from cxr_reason.prompts import FIND_ABNORMALITIES
from cxr_reason.settings import TEMPERATURE_OF_SEVERAL_TRACES, ReadingSettings

if TYPE_CHECKING:
    from cxr_reason.engine.base import Engine
    from cxr_reason.evaluation.backends import FilmReader

# Import names of the packages; the command itself loads none of them.
_FOR_EVALUATE = ("jinja2", "matplotlib", "onnxruntime", "PIL", "pydicom", "sklearn", "tokenizers")
_FOR_CHECKPOINT = ("safetensors", "torch", "transformers")


def evaluate(
    data: Annotated[
        str,
        typer.Option(
            help="`phantoms` (synthetic films), or the folder of a release: NIH ChestX-ray14, "
            "CheXpert or MIMIC-CXR-JPG. The test split, unless :train or :validation follows."
        ),
    ],
    checkpoint: Annotated[
        str | None, typer.Option(help="Folder or Hugging Face id; runs with transformers.")
    ] = None,
    engine: Annotated[
        Path | None, typer.Option(help="Engine folder made by `cxr-reason build`.")
    ] = None,
    server: Annotated[str | None, typer.Option(help="gRPC address of a running server.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most films.")] = None,
    num_traces: Annotated[
        int,
        typer.Option(
            min=1, help="Traces over which probabilities are averaged; 1 uses the greedy trace."
        ),
    ] = 1,
    temperature: Annotated[
        float, typer.Option(help="Temperature of sampled traces.")
    ] = TEMPERATURE_OF_SEVERAL_TRACES,
    max_tokens: Annotated[
        int, typer.Option(help="Limit of generated tokens.")
    ] = ReadingSettings.max_tokens,
    prompt: Annotated[
        str, typer.Option(help="Plain text, or a JSON list of chat messages.")
    ] = FIND_ABNORMALITIES,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of traces, choice of films and bootstrap.")
    ] = 0,
    faithfulness: Annotated[
        int, typer.Option(min=0, help="Most films of the faithfulness test; 0 skips it.")
    ] = 100,
    max_batch: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 8,
    device: Annotated[
        str, typer.Option(help="Of --checkpoint: cpu in float32, cuda in bfloat16.")
    ] = "cpu",
    resume: Annotated[
        Path | None,
        typer.Option(help="JSON lines: keeps finished films here, and goes on if it is there."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="HTML report to write.")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="File to write for `cxr-reason serve --calibration`; not of a test set."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Measure a checkpoint, an engine or a server on films with known labels.

    Needs the extra `evaluate`; with --checkpoint also `build`. See docs/evaluation.md.

    Example: cxr-reason evaluate --engine engines/nano --data phantoms --limit 20 --max-tokens 64
    """
    backends = [name for name in (checkpoint, engine, server) if name is not None]
    if len(backends) != 1:
        raise BadRequestError(
            f"evaluate: {len(backends)} of --checkpoint, --engine and --server; give one"
        )
    _check_installed(_FOR_EVALUATE, "evaluate")
    if checkpoint is not None:
        _check_installed(_FOR_CHECKPOINT, "evaluate,build")
    # What these import comes with the extras.
    from cxr_reason.evaluation.calibrate import calibrate, write_calibration
    from cxr_reason.evaluation.cases import load_cases, parse_source
    from cxr_reason.evaluation.evaluate import EvaluationSettings, evaluate_cases
    from cxr_reason.evaluation.report import write_report
    from cxr_reason.evaluation.run import Record, Run
    from cxr_reason.evaluation.summary import print_summary, to_json

    source = parse_source(data)
    if calibration is not None and (num_traces == 1 or source.split == "test"):
        raise BadRequestError(
            f"calibration: {num_traces} trace(s), split {source.split}; give --num-traces 2 or "
            "more, and a split that is not the test set, such as phantoms:validation"
        )
    settings = EvaluationSettings(num_traces, temperature, max_tokens, seed, faithfulness)
    samplings = settings.samplings
    if report is not None and not report.absolute().parent.is_dir():
        raise BadRequestError("report: the folder for it does not exist; make it, or give another")
    with _progress() as progress:
        cases = load_cases(
            source, limit, seed=seed, progress=lambda *done: progress("loading films", *done)
        )
        reader = _open_reader(checkpoint, engine, server, prompt, max_batch, device)
        try:
            # What outputs depend on; not what is computed of them.
            key = {**reader.provenance, "prompt": prompt, "samplings": [*map(asdict, samplings)]}
            record = Record(resume, key) if resume is not None else None
        except BaseException:
            reader.close()
            raise
        with Run(reader, samplings, record) as run:
            evaluation = evaluate_cases(cases, run, settings, progress)
    origin = {
        "model": reader.provenance,
        "data": source.name,
        "settings": {**asdict(settings), "prompt": prompt, "limit": limit},
    }
    # With --json, stdout is for that line alone.
    print_summary(Console(stderr=as_json), evaluation, title=f"{source.name}")
    if report is not None:
        command = shlex.join(["cxr-reason", *sys.argv[1:]])
        write_report(report, evaluation, {**origin, "command": command})
    if calibration is not None:
        origin_of = f"{evaluation.num_films} films of {source.name}, {num_traces} traces each"
        write_calibration(calibrate(evaluation.sample, origin_of), calibration)
    if as_json:
        sys.stdout.write(to_json(evaluation, origin) + "\n")


def _open_reader(
    checkpoint: str | None,
    engine: Path | None,
    server: str | None,
    prompt: str,
    max_batch: int,
    device: str,
) -> FilmReader:
    from cxr_reason.client import Client, LocalTransport
    from cxr_reason.evaluation.backends import ClientReader
    from cxr_reason.reader.local import LocalReader

    concurrency, place = max_batch, ""
    if server is not None:
        client, place = Client(server), "server, "
    elif engine is not None:
        from cxr_reason.engine.config import EngineConfig

        client = Client(transport=LocalTransport.open(engine, EngineConfig(max_batch=max_batch)))
    else:
        # It decodes one request at a time; a second film is prepared meanwhile.
        concurrency = 2
        reference = _open_reference(str(checkpoint), device)
        client = Client(transport=LocalTransport(LocalReader(reference)))
    try:
        return ClientReader(client, prompt=prompt, concurrency=concurrency, place=place)
    except BaseException:
        client.close()
        raise


def _open_reference(checkpoint: str, device: str) -> Engine:
    import torch

    from cxr_reason.checkpoint import open_checkpoint
    from cxr_reason.engine.reference.engine import ReferenceEngine

    if device != "cpu" and not torch.cuda.is_available():
        raise BadRequestError(f"device: {device!r} is not available here; give cpu")
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    return ReferenceEngine(open_checkpoint(checkpoint), device=device, dtype=dtype)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show each step with a bar on stderr."""
    with Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    ) as bars:
        tasks: dict[str, Any] = {}

        def update(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done)

        yield update


def _check_installed(modules: tuple[str, ...], extra: str) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise ServerError(
            f"`cxr-reason evaluate` needs {', '.join(missing)}: pip install 'cxr-reason[{extra}]'"
        )
