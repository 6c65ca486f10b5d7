"""What takes long to make, made once for all processes of a parallel run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.build import plan_build, run_build

_WORKER = "PYTEST_XDIST_WORKER"  # set by pytest-xdist in each of its workers
_PLACE = "CXR_TESTS_MADE_ONCE"  # set here for a run that a test starts


class MadeOnce:
    """Folders that the workers of a run share. Tests read them and leave them as they are."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        own = factory.getbasetemp()
        # A worker's folder lies in that of the run.
        run = own.parent if _WORKER in os.environ else own
        self._folder = Path(os.environ.get(_PLACE, run / "made-once"))
        self._folder.mkdir(exist_ok=True)

    def environment(self) -> dict[str, str]:
        """Return what lets a run of pytest in a process of its own share these folders."""
        return {_PLACE: str(self._folder)}

    def get(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return the folder of a name. The first who asks makes it, and others wait for that.

        Args:
            name: Of the folder.
            make: Called with a folder that is not there yet; what fails leaves nothing to others.
        """
        folder = self._folder / name
        with FileLock(folder.with_suffix(".lock")):
            if not folder.exists():
                # Moved when it is whole: half of one is never taken for one.
                partial = folder.with_suffix(".partial")
                shutil.rmtree(partial, ignore_errors=True)
                make(partial)
                partial.replace(folder)
        return folder

    def engine(self, name: str, checkpoint: Checkpoint, precision: str) -> Path:
        """Return an engine of the backend onnx, compiled from a checkpoint with a name."""

        def make(folder: Path) -> None:
            plan = plan_build(checkpoint, backend="onnx", precision=precision, output=folder)
            seen: list[tuple[str, float]] = []
            run_build(plan, lambda step, part: seen.append((step, part)))
            self._progress_file(name, precision).write_text(json.dumps(seen))

        return self.get(f"{name}-{precision}", make)

    def progress(self, name: str, precision: str) -> list[tuple[str, float]]:
        """Return what compiling an engine reported, in order."""
        seen = json.loads(self._progress_file(name, precision).read_text())
        return [(step, part) for step, part in seen]

    def _progress_file(self, name: str, precision: str) -> Path:
        return self._folder / f"{name}-{precision}.json"
