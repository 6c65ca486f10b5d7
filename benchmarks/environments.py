"""A virtual environment for each peer, from the header of its script (PEP 723)."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from cxr_reason.errors import EngineError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_HEADER = re.compile(r"(?m)^# /// script\n(?P<content>(?:^#.*\n)+?)^# ///$")
_TAIL_LINES = 6
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_RUST_FRAME = re.compile(r"\s+(?:\d+: |at )")


def read_header(script: Path) -> str:
    """Return the TOML in the header of a script; empty without one."""
    match = _HEADER.search(script.read_text(encoding="utf-8"))
    if match is None:
        return ""
    return "".join(line[2:] or "\n" for line in match["content"].splitlines(keepends=True))


def make_environment(script: Path, folder: Path, log: Path) -> Path:
    """Make the environment that a script needs, unless it is there.

    Args:
        script: With its dependencies, pinned, in the header.
        folder: Of the environment. One made for another header is replaced.
        log: Gets the output of pip.

    Returns:
        The environment's Python.

    Raises:
        EngineError: It cannot be made; the message ends with the last lines of pip.
    """
    header = read_header(script)
    dependencies: list[str] = tomllib.loads(header).get("dependencies", [])
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    wanted = hashlib.sha256(f"{sys.version}\n{header}".encode()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    # Without pip if there is nothing to install: it takes most of the time.
    _run([sys.executable, "-m", "venv", str(folder), *([] if dependencies else ["--without-pip"])],
         log)  # fmt: skip
    if dependencies:
        _run([str(python), "-m", "pip", "install", *dependencies], log)
    stamp.write_text(wanted, encoding="utf-8")
    return python


def read_tail(log: Path) -> str:
    """Return the last lines of a log that say something: no blank ones, no frames of Rust."""
    text = log.read_text(encoding="utf-8", errors="replace")
    # Results are published, so they must not show anybody's home folder.
    lines = _COLOR.sub("", text).replace(str(Path.home()), "~").splitlines()
    lines = [line for line in lines if line.strip() and not _RUST_FRAME.match(line)]
    return "\n".join(lines[-_TAIL_LINES:])


def _run(command: list[str], log: Path) -> None:
    with log.open("wb") as output:
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code != 0:
        raise EngineError(f"environment: cannot be made:\n{read_tail(log)}")
