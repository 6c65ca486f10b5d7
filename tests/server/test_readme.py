"""The code of the README runs as it stands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from cxr_reason.serving.launcher import TritonServer


@pytest.mark.server
def test_the_python_example(
    repository: Path,
    server: TritonServer,
    rg1_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(), re.S)
    assert len(example.strip().splitlines()) <= 6
    shutil.copy(rg1_path, tmp_path / "film.dcm")
    monkeypatch.chdir(tmp_path)
    exec(example.replace("127.0.0.1:8001", server.grpc_address), {})
    assert "truncated" in capsys.readouterr().out


def test_every_folder_it_names_exists(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    tree = text.split("## Where things are")[1].split("```")[1]
    parent = ""
    for line in tree.strip().splitlines():
        name = line.split()[0]
        path = parent + name if line.startswith("    ") else name
        parent = parent if line.startswith("    ") else name
        assert (repository / path).exists(), path
