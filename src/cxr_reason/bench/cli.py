"""`cxr-reason bench`: measure on this machine."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import Annotated

import typer

from cxr_reason.errors import ServerError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

# NumPy and PyTorch read these when they are loaded, so the measurement has its own process.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_NEEDED = ("PIL", "pydicom", "torch", "torchvision", "transformers")


@app.callback()
def bench() -> None:
    """Measure speed on this machine."""


@app.command()
def kernels(
    runs: Annotated[int, typer.Option(min=3, help="Runs of each; the medians are printed.")] = 15,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Preprocessing: ours, the usual pipeline, and what Python libraries can do at best.

    Needs the extra `build`. OpenCV 5 and pydicom-data add a baseline and a film where installed.

    Example: taskset --cpu-list 1 cxr-reason bench kernels --json
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ServerError(
            f"`cxr-reason bench kernels` needs {', '.join(missing)}: "
            "pip install 'cxr-reason[build]'"
        )
    command = [sys.executable, "-m", "cxr_reason.bench.preprocess", "--runs", str(runs)]
    if as_json:
        command.append("--json")
    code = subprocess.run(command, env={**os.environ, **_ONE_THREAD}, check=False).returncode
    raise typer.Exit(code)
