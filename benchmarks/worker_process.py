"""Runs `peers/worker.py` for one contender, and watches the memory that it takes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from cxr_reason.benchmarks.environments import read_tail

WORKER = Path(__file__).parent / "peers" / "worker.py"

_POLL_INTERVAL_S = 0.05

OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class WorkerRun:
    """The result of one worker.

    Attributes:
        events: What it wrote, each with `peak_bytes`: the most memory until then.
        start_clock_s: `time.monotonic()` when it started.
        error: Its last lines if it failed; empty if it did not.
    """

    events: tuple[dict[str, Any], ...]
    start_clock_s: float
    error: str


def run_worker(
    python: Path,
    script: Path,
    job: dict[str, Any],
    folder: Path,
    *,
    timeout_s: float,
    on_event: OnEvent = lambda _: None,
) -> WorkerRun:
    """Run one job to its end, and end whatever it leaves running.

    Args:
        python: Of the contender's environment.
        script: The contender's.
        job: See `peers/worker.py`.
        folder: Gets the job, the events and the output.
        timeout_s: Seconds until it counts as failed.
        on_event: Called with each event as it comes.
    """
    job_path, events_path, log = (folder / name for name in ("job.json", "events.jsonl", "log"))
    job_path.write_text(json.dumps(job), encoding="utf-8")
    events_path.write_text("", encoding="utf-8")
    command = [str(python), str(WORKER), str(script), str(job_path), str(events_path)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    start_clock_s = time.monotonic()
    with log.open("wb") as output, events_path.open(encoding="utf-8") as lines:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # a group of its own, which ends as one
        )
        watch = MemoryWatch(process.pid)
        events: list[dict[str, Any]] = []
        try:
            while True:
                has_ended = process.poll() is not None
                watch.look()
                while line := lines.readline():
                    events.append({**json.loads(line), "peak_bytes": watch.peak_bytes})
                    on_event(events[-1])
                if has_ended or time.monotonic() > start_clock_s + timeout_s:
                    break
                time.sleep(_POLL_INTERVAL_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    error = ""
    if not has_ended:
        error = f"not done after {timeout_s:g} s; {read_tail(log)}"
    elif process.returncode != 0 or not events or events[-1]["event"] != "done":
        error = read_tail(log) or f"ended with code {process.returncode}"
    return WorkerRun(tuple(events), start_clock_s, error)


class MemoryWatch:
    """Follows the resident memory of a process and its children.

    Pages that several of them share count in each.

    Attributes:
        peak_bytes: The most so far.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.peak_bytes = 0

    def look(self) -> None:
        """Look once; between two looks only the kernel's own peak of the process is seen."""
        try:
            root = psutil.Process(self._pid)
            processes = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        total = 0
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                total += process.memory_info().rss
        self.peak_bytes = max(self.peak_bytes, total, _kernel_peak(self._pid))


def _kernel_peak(pid: int) -> int:
    """Return the most resident memory that the kernel saw of one process; 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
