"""The code of the README runs as it stands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from cxr_reason.serving.launcher import TritonServer


@pytest.mark.server
def test_the_python_examples(
    repository: Path,
    server: TritonServer,
    engine_dir: Path,
    rg1_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    examples = re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(), re.S)
    shutil.copy(rg1_path, tmp_path / "film.dcm")
    monkeypatch.chdir(tmp_path)
    printed = []
    for example in examples:
        assert len(example.strip().splitlines()) <= 6
        code = example.replace("127.0.0.1:8001", server.grpc_address)
        exec(code.replace("engines/nano", str(engine_dir)), {})
        printed.append(capsys.readouterr().out)
    here, there = printed
    assert "truncated" in there
    assert there.endswith(here), "both print the same findings"


def test_every_folder_it_names_exists(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    tree = text.split("## Where things are")[1].split("```")[1]
    parent = ""
    for line in tree.strip().splitlines():
        name = line.split()[0]
        path = parent + name if line.startswith("    ") else name
        parent = parent if line.startswith("    ") else name
        assert (repository / path).exists(), path
