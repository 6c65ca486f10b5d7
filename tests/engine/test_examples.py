"""The programs in `examples/` run as their docstrings say, with a real engine."""

from __future__ import annotations

import csv
import json
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.gateway_service import running_gateway

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.client import LocalTransport
from cxr_reason.engine.artifact import read_manifest
from cxr_reason.findings import LABELS

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MAX_LINES = 50

Run = Callable[..., str]


@pytest.fixture
def run(
    trained_engine_dir: Path,
    rg1_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run an example where `film.dcm` and `engines/nano` are, and return what it prints."""
    shutil.copy(rg1_path, tmp_path / "film.dcm")
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "nano").symlink_to(trained_engine_dir)
    monkeypatch.chdir(tmp_path)

    def run_example(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run_example


def test_make_film(run: Run, tmp_path: Path) -> None:
    assert "a synthetic film with" in run("make_film.py", "phantom.dcm", "--seed", "3")
    assert "outcome: complete" in run("read_film.py", "phantom.dcm")


def test_read_film(run: Run) -> None:
    lines = run("read_film.py", "film.dcm").splitlines()
    assert lines[0] == "outcome: complete"
    place = lines.index("Pneumothorax: absent")
    assert "pneumothorax" in lines[place + 1]


def test_stream_film(run: Run) -> None:
    printed = run("stream_film.py", "film.dcm")
    assert "[Pneumothorax: absent]" in printed
    assert "complete:" in printed.splitlines()[-1]


def test_films_to_csv(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.dcm").write_bytes(b"no film")
    printed = run("films_to_csv.py", "readings.csv", "film.dcm", "broken.dcm")
    assert printed == "readings.csv: 1 films read, 1 not\n"
    with (tmp_path / "readings.csv").open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert rows["film.dcm"]["outcome"] == "complete"
    assert rows["film.dcm"]["Pneumothorax"] == "absent"
    assert rows["broken.dcm"]["error"] == "unreadable_image"
    assert not any(rows["broken.dcm"][label] for label in LABELS)


def test_plot_uncertainty(run: Run, tmp_path: Path) -> None:
    run("plot_uncertainty.py", "film.dcm", "uncertainty.png", "--num-traces", "3")
    assert (tmp_path / "uncertainty.png").read_bytes().startswith(b"\x89PNG")


def test_own_checkpoint(
    run: Run, trained: Checkpoint, trained_engine_dir: Path, tmp_path: Path
) -> None:
    arguments = [str(trained.folder), "engines/mine", "film.dcm", "--precision", "fp32"]
    assert "100%" in run("own_checkpoint.py", *arguments)
    manifest = read_manifest(tmp_path / "engines" / "mine")
    assert manifest == read_manifest(trained_engine_dir), "the same, built a second time"
    again = run("own_checkpoint.py", *arguments)
    assert again.splitlines()[0] == "complete"
    assert "%" not in again, "an engine that is up to date is not built again"


def test_openai_client(run: Run, trained_engine_dir: Path) -> None:
    expected = run("read_film.py", "film.dcm")
    with running_gateway(LocalTransport.open(trained_engine_dir)) as gateway:
        printed = run("openai_client.py", "film.dcm", "--gateway", gateway.url)
    sentence = expected.splitlines()[2].strip()
    assert sentence in printed


def test_the_notebook(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    notebook = json.loads((EXAMPLES / "read_film.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    names: dict[str, object] = {}
    for cell in cells:
        exec("".join(cell["source"]), names)
    assert "Pneumothorax absent" in capsys.readouterr().out
    sampled = names["sampled"]
    assert len(sampled.traces) == 4  # type: ignore[attr-defined]


def test_programs_are_short_and_listed() -> None:
    programs = [path for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")]
    listed = (EXAMPLES / "README.md").read_text()
    assert [path.name for path in programs if f"]({path.name})" not in listed] == []
    lengths = {
        path.name: len(path.read_text().splitlines()) for path in programs if path.suffix == ".py"
    }
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}
