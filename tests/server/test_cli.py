from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console
from support import fake_server
from typer.testing import CliRunner

from cxr_reason import __version__
from cxr_reason.cli.main import app, main
from cxr_reason.cli.render import StreamPrinter, print_error, print_reading
from cxr_reason.client import TextEvent
from cxr_reason.errors import BadRequestError
from cxr_reason.film.info import FilmInfo
from cxr_reason.reading.reading import DISCLAIMER, Provenance, Reading, make_reading
from cxr_reason.reading.trace import parse_trace
from cxr_reason.serving.addresses import Addresses
from cxr_reason.serving.launcher import TritonProcess
from cxr_reason.usage import Usage


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    repository = fake_server.write_repository(tmp_path_factory.mktemp("server"))
    with TritonProcess(repository, addresses=Addresses.free()) as server:
        yield server


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=100)


def run(*arguments):
    command = [sys.executable, "-c", "from cxr_reason.cli.main import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("command", ["build", "serve", "read"])
def test_help_teaches_with_an_example(command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"Example: cxr-reason {command}" in result.output


def test_overview_and_version():
    overview = CliRunner().invoke(app, ["--help"]).output
    assert all(command in overview for command in ("build", "serve", "read", "not a"))
    assert CliRunner().invoke(app, ["--version"]).output == f"cxr-reason {__version__}\n"


def test_reading_needs_no_compiler():
    code = (
        "import sys; from typer.testing import CliRunner; from cxr_reason.cli.main import app\n"
        "assert CliRunner().invoke(app, ['read', '--help']).exit_code == 0\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'pydicom'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("words", "module", "extra"),
    [
        (["build", "--checkpoint", "checkpoints/nano", "--output", "none"], "onnxscript", "build"),
        (["train", "sft", "-h"], "trl", "train"),
        (["gateway"], "uvicorn", "gateway"),
    ],
)
def test_without_its_extra_a_word_says_what_to_install(
    monkeypatch, capsys, repository, words, module, extra
):
    monkeypatch.chdir(repository)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 1
    shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "MissingExtraError" in shown and module in shown
    assert f"pip install --constraint constraints.txt --editable '.[{extra}]'" in shown


def test_verify_finds_an_altered_file(engine_dir, tmp_path, capsys):
    copy = tmp_path / "engine"
    shutil.copytree(engine_dir, copy)
    run_here = CliRunner().invoke(app, ["verify", str(copy)])
    assert run_here.exit_code == 0 and "intact" in run_here.output
    file = copy / "tokenizer.json"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(SystemExit) as exit_:
        main(["verify", str(copy)])
    assert exit_.value.code == 1
    assert "tokenizer.json" in capsys.readouterr().err


@pytest.mark.server
def test_read_streams_and_prints_the_findings(server, rg1_path):
    result = run("read", str(rg1_path), "--server", server.grpc_address)
    assert result.returncode == 0, result.stderr
    assert "The heart is large." in result.stdout
    assert "<think>" not in result.stdout
    assert "outcome  complete" in result.stdout
    assert "a fake" in result.stdout
    assert DISCLAIMER in result.stdout


@pytest.mark.server
def test_json_is_all_of_stdout(server, rg1_path):
    result = run(
        "read", str(rg1_path), "--server", server.grpc_address, "--max-tokens", "3", "--json"
    )
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    reading = json.loads(line)
    assert reading["outcome"] == "truncated"
    assert reading["provenance"]["max_tokens"] == 3
    assert "The heart" in result.stderr


@pytest.mark.server
def test_several_traces_give_probabilities(server, rg1_path):
    arguments = ["--num-traces", "2", "--answer-format", "labels", "--json"]
    result = run("read", str(rg1_path), "--server", server.grpc_address, *arguments)
    assert result.returncode == 0, result.stderr
    provenance = json.loads(result.stdout)["provenance"]
    assert (provenance["num_traces"], provenance["temperature"]) == (2, 1.0)
    assert provenance["answer_format"] == "labels"


@pytest.mark.server
def test_many_films_get_a_line_each(server, rg1_path, tmp_path):
    empty = tmp_path / "empty.dcm"
    empty.touch()
    films = [str(rg1_path), str(empty), str(rg1_path)]
    result = run("read", *films, "--server", server.grpc_address, "--json")
    assert result.returncode == 2
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert sorted(line["file"] for line in lines) == sorted(films)
    assert [line["error"]["code"] for line in lines if "error" in line] == ["unreadable_image"]
    assert {line["reading"]["outcome"] for line in lines if "reading" in line} == {"complete"}
    assert "1 of 3 films were not read" in result.stderr

    shown = run("read", *films, "--server", server.grpc_address)
    assert shown.stdout.count("complete") == 2
    assert f"{empty}  UnreadableImageError" in shown.stdout


@pytest.mark.server
def test_input_at_fault_exits_with_2(server, repository):
    result = run("read", str(repository / "LICENSE"), "--server", server.grpc_address)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "UnreadableImageError" in result.stderr
    assert "Traceback" not in result.stderr


def test_no_server_exits_with_1(rg1_path):
    result = run("read", str(rg1_path), "--server", Addresses.free().resolve().grpc)
    assert result.returncode == 1
    assert "cxr-reason serve" in result.stderr


@pytest.mark.server
def test_interrupt_exits_with_130_and_cancels(server, rg1_path):
    command = [sys.executable, "-c", "from cxr_reason.cli.main import main; main()"]
    arguments = ["read", str(rg1_path), "--server", server.grpc_address, "--prompt", "count 1000"]
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, *arguments], stdout=pipe, stderr=pipe) as process:
        assert process.stdout.read(2) == b"w0"
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 130, errors.decode()
    read_metric = fake_server.read_metric
    assert read_metric(server, 'cxr_requests{stage="generating"}') == 0
    assert read_metric(server, 'cxr_requests_total{outcome="cancelled"}') == 1


@pytest.mark.server
def test_many_films_are_left_at_an_interrupt(server, rg1_path):
    command = [sys.executable, "-c", "from cxr_reason.cli.main import main; main()", "read"]
    arguments = ["--server", server.grpc_address, "--prompt", "count 1000", "--concurrency", "2"]
    films = [str(rg1_path)] * 50
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, *films, *arguments], stdout=pipe, stderr=pipe) as process:
        read_metric = fake_server.read_metric
        deadline_s = time.monotonic() + 30
        while read_metric(server, 'cxr_requests{stage="generating"}') < 2:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors.decode()
    assert read_metric(server, 'cxr_requests{stage="generating"}') == 0


def test_reading_in_this_process(engine_dir, rg1_path):
    """No server: one film with its reasoning, several with a line each, and what is wrong."""
    engine = ["--engine", str(engine_dir), "--max-tokens", "8"]
    one = run("read", str(rg1_path), *engine, "--json")
    assert one.returncode == 0, one.stderr
    assert Reading.from_json(one.stdout).usage.completion_tokens == 8
    many = run("read", str(rg1_path), "/etc/hostname", *engine, "--json")
    assert many.returncode == 2
    lines = {line["file"]: line for line in map(json.loads, many.stdout.splitlines())}
    assert lines["/etc/hostname"]["error"]["code"] == "unreadable_image"
    assert "reading" in lines[str(rg1_path)]
    both = run("read", str(rg1_path), *engine, "--server", "127.0.0.1:8001")
    assert both.returncode == 2 and "give one" in both.stderr
    other = run("read", str(rg1_path), "--film-gate", "gate.json")
    assert other.returncode == 2 and "of --engine" in other.stderr
    wrong = run("read", str(rg1_path), *engine, "--film-gate", str(rg1_path))
    assert wrong.returncode == 2 and "film gate" in wrong.stderr
    none = run("read", str(rg1_path), "--engine", str(rg1_path.parent))
    assert none.returncode == 1 and "ArtifactError" in none.stderr


def test_serving_a_folder_that_is_not_an_engine_exits_with_1(tmp_path):
    result = run("serve", str(tmp_path))
    assert result.returncode == 1
    assert "ArtifactError" in result.stderr
    assert "cxr-reason build" in " ".join(result.stderr.replace("│", " ").split())


def test_sections_start_on_lines_of_their_own(console):
    printer = StreamPrinter(console)
    for section, text in (
        ("reasoning", " The heart"),
        ("reasoning", " is large. "),
        ("other", "\n"),
        ("answer", " Cardiomegaly"),
    ):
        printer.add(TextEvent(section, text))
    printer.end()
    assert console.file.getvalue() == "The heart is large. \nCardiomegaly\n"


def test_text_of_a_model_can_neither_style_nor_steer_the_terminal(console):
    printer = StreamPrinter(console)
    printer.add(TextEvent("other", "[red]a[/red]\x1b[2J\x07b"))
    printer.end()
    assert console.file.getvalue() == "[red]a[/red][2Jb\n"
    print_error(console, BadRequestError("[/] \x1b]0;x\x07 closing tag of nothing"))
    assert "\x1b" not in console.file.getvalue()


def test_a_reading_shows_what_its_reader_must_know(console):
    film = FilmInfo("a" * 64, "dicom", 10, 10, 12, flags=("window_estimated",))
    provenance = Provenance(
        "0.1.0", "onnx", "int4", "d", "c", "untrained [demo]", 9, 0.0, 1.0, 0, 1, "", ""
    )
    text = "<think> x </think>\n<answer> Edema, Scoliosis [old] </answer>"
    reading = make_reading(
        [parse_trace(text, truncated=False)],
        film=film,
        usage=Usage(300, 289, 7, 0.0, 0.5, 1.5),
        provenance=provenance,
    )
    assert isinstance(reading, Reading)
    print_reading(console, reading)
    shown = console.file.getvalue()
    rows = [line.split("│")[1:3] for line in shown.splitlines() if line.startswith("│")]
    stated = [name.strip() for name, is_stated in rows if is_stated.strip()]
    assert stated == ["Edema", "Scoliosis [old]"]
    for part in ("unknown_label", "no usable window", "untrained [demo]", DISCLAIMER):
        assert part in shown
