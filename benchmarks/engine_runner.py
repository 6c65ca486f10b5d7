"""Environment, conversion and measurement of one contender after another."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment
from rich.progress import Progress

from cxr_reason.benchmarks.comparison import Measured
from cxr_reason.benchmarks.contenders import Contender
from cxr_reason.benchmarks.engine_settings import EngineBench
from cxr_reason.benchmarks.engine_summary import events_of_kind, summarize
from cxr_reason.benchmarks.environments import make_environment, read_header
from cxr_reason.benchmarks.film_variants import FilmVariants
from cxr_reason.benchmarks.release_form import write_release_form
from cxr_reason.benchmarks.worker_process import OnEvent, WorkerRun, run_worker
from cxr_reason.checkpoint import Checkpoint
from cxr_reason.errors import EngineError
from cxr_reason.prompts import FIND_ABNORMALITIES, parse_prompt, template_messages


class ContenderRunner:
    """Environment, conversion and measurement of one contender after another."""

    def __init__(
        self,
        bench: EngineBench,
        checkpoint: Checkpoint,
        digest: str,
        pictures: FilmVariants,
        scratch: Path,
        progress: Progress,
    ) -> None:
        self._bench = bench
        self._digest = digest
        self._checkpoint = checkpoint.folder.resolve()
        self._release_form = scratch / "checkpoint"
        write_release_form(checkpoint, self._release_form)
        self._pictures = pictures
        self._scratch = scratch
        self._progress = progress
        self._job: dict[str, Any] = {
            "prompt": FIND_ABNORMALITIES,
            "chat": render_chat(checkpoint, FIND_ABNORMALITIES),
            "tokens": bench.tokens,
            "batch_tokens": bench.batch_tokens,
            "runs": bench.runs,
            "batch_runs": bench.batch_runs,
            "concurrency": bench.concurrency,
        }

    def measure(self, contender: Contender) -> tuple[Measured, int]:
        """Return what was measured, and the bytes of the decoder's weights (0 if unknown)."""
        total = 2 + 2 * self._bench.runs + self._bench.batch_runs * len(self._bench.concurrency)
        task = self._progress.add_task("", total=total)

        def show(step: str) -> None:
            self._progress.update(task, description=f"{contender.name}: {step}")

        try:
            show("environment")
            python = self._make_environment(contender)
            show("conversion")
            model = contender.model or self._prepare(contender, python)
            show("loading")

            def follow(event: dict[str, Any]) -> None:
                show(_describe(event))
                self._progress.advance(task)

            run = self._run(contender, python, "measure", model, follow)
        except EngineError as error:
            return Measured(contender.name, contender.is_ours, error=error.message), 0
        finally:
            self._progress.remove_task(task)
        ready = events_of_kind(run, "ready")
        decoder_bytes = int(ready[0]["decoder_bytes"] or 0) if ready else 0
        return summarize(contender, run, self._bench.tokens), decoder_bytes

    def _make_environment(self, contender: Contender) -> Path:
        if contender.is_ours:
            return Path(sys.executable)
        folder = self._folder(contender)
        return make_environment(
            contender.script, folder / "environment", self._scratch / "environment.log"
        )

    def _prepare(self, contender: Contender, python: Path) -> Path:
        """Return the folder of the converted model, made now or in an earlier run."""
        key = f"{self._digest}{read_header(contender.script)}{sorted(contender.options.items())}"
        folder = self._folder(contender)
        model = folder / "models" / hashlib.sha256(key.encode()).hexdigest()[:16]
        done = model.with_suffix(".done")
        if self._bench.rebuild or not done.is_file():
            done.unlink(missing_ok=True)
            shutil.rmtree(model, ignore_errors=True)
            model.parent.mkdir(parents=True, exist_ok=True)
            run = self._run(contender, python, "prepare", model)
            if run.error:
                raise EngineError(f"conversion: failed:\n{run.error}")
            done.touch()
        return model

    def _folder(self, contender: Contender) -> Path:
        folder = self._bench.cache / contender.script.stem
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _run(
        self,
        contender: Contender,
        python: Path,
        task: str,
        model: Path,
        on_event: OnEvent = lambda _: None,
    ) -> WorkerRun:
        ours = contender.is_ours
        films = self._pictures.originals if ours else self._pictures.pngs
        job = {
            **self._job,
            "task": task,
            "checkpoint": str(self._checkpoint if ours else self._release_form),
            "model": str(model),
            "options": contender.options,
            "films": [str(film) for film in films],
        }
        return run_worker(
            python,
            contender.script,
            job,
            self._scratch,
            timeout_s=self._bench.timeout_s,
            on_event=on_event,
        )


def _describe(event: dict[str, Any]) -> str:
    return {"ready": "first request", "single": "one at a time", "again": "film seen before"}.get(
        event["event"], "several at once"
    )


def render_chat(checkpoint: Checkpoint, prompt: str) -> str:
    """Return a prompt in the checkpoint's template, with one `<|image_pad|>` for the film."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(checkpoint.chat_template).render(
        messages=template_messages(parse_prompt(prompt), with_film=True),
        add_generation_prompt=True,
    )
