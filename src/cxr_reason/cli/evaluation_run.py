"""What `evaluate` and `calibrate` share: their options, and films read by a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cxr_reason.errors import BadRequestError
from cxr_reason.extras import require

if TYPE_CHECKING:
    from cxr_reason.engine.base import Engine
    from cxr_reason.evaluation.backends import FilmReader
    from cxr_reason.evaluation.evaluate import Evaluation, EvaluationSettings
    from cxr_reason.reader.film_gate import FilmGate

Data = Annotated[
    str,
    typer.Option(
        help="`phantoms` (synthetic films), or the folder of a release: NIH ChestX-ray14, CheXpert "
        "or MIMIC-CXR-JPG. The test split, unless :train or :validation follows."
    ),
]
Checkpoint = Annotated[
    str | None, typer.Option(help="Folder or Hugging Face id; runs with transformers.")
]
EngineDir = Annotated[Path | None, typer.Option(help="Engine folder made by `cxr-reason build`.")]
Server = Annotated[str | None, typer.Option(help="gRPC address of a running server.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Most films.")]
Temperature = Annotated[float, typer.Option(help="Temperature of sampled traces.")]
MaxTokens = Annotated[int, typer.Option(help="Limit of generated tokens.")]
Prompt = Annotated[str, typer.Option(help="Plain text, or a JSON list of chat messages.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of traces, choice of films and bootstrap.")]
MaxBatch = Annotated[int, typer.Option(min=1, help="Requests at a time.")]
Device = Annotated[
    str, typer.Option(help="Device of --checkpoint: cpu in float32, cuda in bfloat16.")
]
Resume = Annotated[
    Path | None,
    typer.Option(help="JSON lines: saves finished films, and resumes if the file exists."),
]


@dataclass(frozen=True)
class Subject:
    """What is measured, on which films.

    Attributes:
        data: Name of the films' source.
        checkpoint: Folder or Hugging Face id of a checkpoint, or None; the same for the next two,
            of which one is set.
        engine: Engine folder.
        server: Address of a server.
        limit: Most films; None takes all.
        prompt: Plain text, or a JSON list of chat messages.
        max_batch: Requests at a time.
        device: Of a checkpoint.
        resume: File that keeps finished films, or None.
    """

    data: str
    checkpoint: str | None
    engine: Path | None
    server: str | None
    limit: int | None
    prompt: str
    max_batch: int
    device: str
    resume: Path | None


def check_subject(subject: Subject, *, what: str) -> None:
    """Check that one model is named and that its packages are installed.

    Raises:
        BadRequestError: Not one of the three is given.
        MissingExtraError: An extra is not installed.
    """
    given = (subject.checkpoint, subject.engine, subject.server)
    if (number := sum(one is not None for one in given)) != 1:
        raise BadRequestError(f"{what}: {number} of --checkpoint, --engine and --server; give one")
    require("evaluate", *(["build"] if subject.checkpoint is not None else []), what=what)


def read_films(subject: Subject, settings: EvaluationSettings) -> tuple[Evaluation, dict[str, Any]]:
    """Read the films with bars on stderr, and compute the measures.

    Returns:
        The measures, and what they are of: model, data and settings.
    """
    from cxr_reason.evaluation.cases import load_cases, parse_source
    from cxr_reason.evaluation.evaluate import evaluate_cases
    from cxr_reason.evaluation.run import Record, Run

    source = parse_source(subject.data)
    samplings = settings.samplings
    with _progress() as progress:
        cases = load_cases(
            source,
            subject.limit,
            seed=settings.seed,
            progress=lambda *done: progress("loading films", *done),
        )
        reader = _open_reader(subject)
        try:
            # What outputs depend on; not what is computed of them.
            key = {
                **reader.provenance,
                "prompt": subject.prompt,
                "samplings": [*map(asdict, samplings)],
            }
            record = Record(subject.resume, key) if subject.resume is not None else None
        except BaseException:
            reader.close()
            raise
        with Run(reader, samplings, record) as run:
            evaluation = evaluate_cases(cases, run, settings, progress)
    origin = {
        "model": reader.provenance,
        "data": source.name,
        "settings": {**asdict(settings), "prompt": subject.prompt, "limit": subject.limit},
    }
    return evaluation, origin


def make_film_gate(subject: Subject, seed: int) -> FilmGate:
    """Encode the films of a subject with its engine, and describe their visual tokens."""
    from cxr_reason.engine.backend import VISION
    from cxr_reason.engine.registry import load_engine
    from cxr_reason.evaluation.cases import load_cases, parse_source
    from cxr_reason.evaluation.film_gate import encode_films, fit_film_gate

    assert subject.engine is not None
    source = parse_source(subject.data)
    with load_engine(subject.engine, parts={VISION}) as engine, _progress() as progress:
        cases = load_cases(source, subject.limit, seed=seed)
        pooled = encode_films(engine, cases, lambda *done: progress("encoding films", *done))
        manifest = engine.manifest
    return fit_film_gate(pooled, manifest, f"{len(pooled)} films of {source.name}")


def _open_reader(subject: Subject) -> FilmReader:
    from cxr_reason.client import Client, LocalTransport
    from cxr_reason.evaluation.backends import ClientReader
    from cxr_reason.reader.local import LocalReader

    concurrency, place = subject.max_batch, ""
    if subject.server is not None:
        client, place = Client(subject.server), "server, "
    elif subject.engine is not None:
        from cxr_reason.engine.config import EngineConfig

        config = EngineConfig(max_batch=subject.max_batch)
        client = Client(transport=LocalTransport.open(subject.engine, config))
    else:
        # It decodes one request at a time; a second film is prepared meanwhile.
        concurrency = 2
        reference = _open_reference(str(subject.checkpoint), subject.device)
        client = Client(transport=LocalTransport(LocalReader(reference)))
    try:
        return ClientReader(client, prompt=subject.prompt, concurrency=concurrency, place=place)
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
