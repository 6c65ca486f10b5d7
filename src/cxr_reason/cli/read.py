"""`cxr-reason read`: one film with its reasoning, or many with a line each."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from cxr_reason import connect, load
from cxr_reason.cli.reading_options import with_reading_options
from cxr_reason.cli.render import print_result, print_stream
from cxr_reason.client import Client
from cxr_reason.client.batch import DEFAULT_CONCURRENCY
from cxr_reason.client.client import DEFAULT_ADDRESS
from cxr_reason.errors import BadRequestError, CxrError, InputError
from cxr_reason.prompts import FIND_ABNORMALITIES
from cxr_reason.reading.reading import Reading


@with_reading_options
def read(
    files: Annotated[
        list[Path], typer.Argument(help="DICOM, PNG or JPEG files, each of a frontal chest film.")
    ],
    server: Annotated[
        str | None,
        typer.Option(
            help="gRPC address of the server, or http://host:port.", show_default=DEFAULT_ADDRESS
        ),
    ] = None,
    engine: Annotated[
        Path | None,
        typer.Option(help="Engine folder to read with in this process, instead of a server."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Of --engine: thresholds that `cxr-reason calibrate --output` wrote."),
    ] = None,
    film_gate: Annotated[
        Path | None,
        typer.Option(help="Of --engine: the file that `cxr-reason calibrate --film-gate` wrote."),
    ] = None,
    prompt: Annotated[
        str, typer.Option(help="Plain text, or a JSON list of chat messages.")
    ] = FIND_ABNORMALITIES,
    concurrency: Annotated[
        int, typer.Option(help="Films read at the same time.")
    ] = DEFAULT_CONCURRENCY,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help='Print the reading as one line of JSON; of several films {"file", "reading"} or '
            '{"file", "error"} each, as they finish.',
        ),
    ] = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Read films: one with its reasoning as it is generated, several with a line each.

    Example: cxr-reason read film.dcm --num-traces 8

    Example: cxr-reason read films/*.dcm --json > readings.jsonl

    Example: cxr-reason read film.dcm --engine engines/nano
    """
    settings["prompt"] = prompt
    # With --json, stdout is for the readings alone.
    console = Console(stderr=as_json)
    with _open_client(server, engine, calibration, film_gate) as client:
        if len(files) > 1:
            _read_many(client, console, files, concurrency, settings, as_json=as_json)
            return
        reading = print_stream(console, client.stream(files[0], **settings))
    if as_json:
        sys.stdout.write(reading.to_json() + "\n")


def _open_client(
    server: str | None, engine: Path | None, calibration: Path | None, film_gate: Path | None
) -> Client:
    if engine is None:
        if calibration is not None or film_gate is not None:
            raise BadRequestError(
                "read: --calibration and --film-gate are of --engine; a server has its own, given "
                "to `cxr-reason serve`"
            )
        return connect(server)
    if server is not None:
        raise BadRequestError("read: --server and --engine; give one of them")
    return load(engine, calibration=calibration, film_gate=film_gate)


def _read_many(
    client: Client,
    console: Console,
    files: list[Path],
    concurrency: int,
    settings: Mapping[str, Any],
    *,
    as_json: bool,
) -> None:
    """Exit with 2 if a film is at fault, with 1 on any other error, once all are read."""
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("films", total=len(files))

        def show(index: int, result: Reading | CxrError) -> None:
            name = str(files[index])
            if as_json:
                sys.stdout.write(_to_line(name, result) + "\n")
                sys.stdout.flush()
            else:
                print_result(console, name, result)
            bars.advance(task)

        results = client.read_many(files, concurrency=concurrency, on_result=show, **settings)
    errors = [result for result in results if isinstance(result, CxrError)]
    if errors:
        Console(stderr=True).print(f"{len(errors)} of {len(files)} films were not read")
        raise typer.Exit(2 if all(isinstance(error, InputError) for error in errors) else 1)


def _to_line(name: str, result: Reading | CxrError) -> str:
    if isinstance(result, Reading):
        return f'{{"file":{json.dumps(name)},"reading":{result.to_json()}}}'
    return json.dumps({"file": name, "error": {"code": result.code, "message": result.message}})
