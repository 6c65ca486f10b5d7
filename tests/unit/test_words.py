from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from cxr_reason.cli.main import _WORDS, app

WORDS = [*_WORDS, *(f"train {word}" for word in ("prepare", "vision", "sft", "grpo"))]


def shown(*words: str) -> str:
    """Return the help as one line, without the borders of its boxes."""
    result = CliRunner().invoke(app, [*words])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("word", ["build", "verify", "read", "serve", "evaluate", "calibrate"])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_teaches_with_an_example(word: str, option: str) -> None:
    assert f"Example: cxr-reason {word} " in shown(word, option)


def test_brackets_are_shown_as_they_are() -> None:
    text = shown("build", "-h")
    assert "together [default: 4096]." in text
    assert "[default: int4 and bf16]." in text


def test_the_overview_names_every_word() -> None:
    text = shown("-h")
    assert all(f" {word} " in text for word in _WORDS)


def test_the_nearest_word_is_suggested() -> None:
    result = CliRunner().invoke(app, ["trian"])
    assert result.exit_code == 2
    assert "Did you mean 'train'?" in result.output
    result = CliRunner().invoke(app, ["read", "film.dcm", "--max-token", "3"])
    assert result.exit_code == 2
    assert "--max-tokens" in result.output


def test_words_complete() -> None:
    environment = {"_CXR_REASON_COMPLETE": "complete_bash", "COMP_WORDS": "cxr-reason ver"}
    run = subprocess.run(
        [sys.executable, "-c", "from cxr_reason.cli.main import app; app(prog_name='cxr-reason')"],
        env={**environment, "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.split() == ["verify"], run.stderr


def test_the_overview_loads_nothing_heavy() -> None:
    code = (
        "import sys; from cxr_reason.cli.main import app\n"
        "try: app(['-h'], prog_name='cxr-reason')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'pydicom', 'transformers', 'fastapi'}\n"
        "sys.exit(str(heavy & set(sys.modules) or '') or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
