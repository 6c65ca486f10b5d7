"""Starts a Triton server, waits until it answers, and stops it without leaving anything behind.

with TritonServer(Path("engine"), addresses=Addresses(grpc_port=0)) as server:
    Client(server.grpc_address).read("film.dcm")
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from cxr_reason.engine.artifact import read_manifest, verify_digests
from cxr_reason.errors import ServerError
from cxr_reason.serving.addresses import Addresses
from cxr_reason.serving.guard import Guard
from cxr_reason.serving.model_config import MODEL_REPOSITORY
from cxr_reason.serving.runtime import find_runtime
from cxr_reason.serving.server_log import ServerLog
from cxr_reason.serving.settings import ServingSettings

STARTUP_TIMEOUT_S = 600.0  # loading a 3B engine from a slow disk takes minutes
EXIT_TIMEOUT_S = 5.0

_POLL_INTERVAL_S = 0.1
_SHARED_MEMORY = Path("/dev/shm")

Progress = Callable[[str], None]


class TritonProcess:
    """One `tritonserver` over any model repository. A context manager: stops at the end.

    Args:
        repository: The model repository.
        addresses: Where it listens.
        environment: Variables for the models, besides this process's own.
        startup_timeout_s: Seconds until every model must be ready.
        exit_timeout_s: Seconds that requests under way get at the end.
        log_path: File for the server's log; None keeps it only while the server runs.
        progress: Called with a short line at each step of the start.
    """

    def __init__(
        self,
        repository: Path,
        *,
        addresses: Addresses | None = None,
        environment: Mapping[str, str] | None = None,
        startup_timeout_s: float = STARTUP_TIMEOUT_S,
        exit_timeout_s: float = EXIT_TIMEOUT_S,
        log_path: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.repository = repository
        self.addresses = addresses or Addresses()
        self._environment = dict(environment or {})
        self._startup_timeout_s = startup_timeout_s
        self._exit_timeout_s = exit_timeout_s
        self._log_path = log_path
        self._progress = progress or (lambda _: None)
        self._process: subprocess.Popen[bytes] | None = None
        # Triton names its shared memory after this, so that it can be found and removed.
        self._shm_prefix = _SHARED_MEMORY / f"cxr_{uuid.uuid4().hex}_"
        self._cleanup = contextlib.ExitStack()

    @property
    def grpc_address(self) -> str:
        """Address for `Client`, "host:port"."""
        return self.addresses.grpc

    @property
    def http_address(self) -> str:
        """Address of HTTP/REST, "host:port"."""
        return self.addresses.http

    @property
    def metrics_address(self) -> str:
        """Address of the page `/metrics`, "host:port"."""
        return self.addresses.metrics

    @property
    def pid(self) -> int | None:
        """Process id of the server, None when it is not running."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server and return when every model is ready.

        Raises:
            ServerError: No server to start, a port is taken, a model does not load, or the time is
                over. Nothing is left running.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def wait(self) -> int:
        """Wait until the server ends by itself and return its exit code."""
        assert self._process is not None, "start() comes first"
        return self._process.wait()

    def stop(self) -> None:
        """Let requests under way finish for `exit_timeout_s`, then end it. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            _end(process, self._exit_timeout_s)
            for block in self._shm_prefix.parent.glob(f"{self._shm_prefix.name}*"):
                block.unlink(missing_ok=True)
        self._cleanup.close()

    def __enter__(self) -> TritonProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        self.addresses = self.addresses.resolve()
        folder = Path(
            self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="cxr-triton-"))
        )
        runtime = find_runtime(folder)
        log = ServerLog(self._log_path or folder / "server.log")
        command = [
            str(runtime.executable),
            f"--model-repository={self.repository}",
            "--disable-auto-complete-config",
            f"--exit-timeout-secs={max(1, round(self._exit_timeout_s))}",
            f"--backend-config=python,shm-region-prefix-name={self._shm_prefix.name}",
            *self.addresses.arguments(),
            *runtime.arguments,
        ]
        with log.path.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **runtime.environment, **self._environment},
                # A group of its own: Ctrl-C reaches only this process, which then stops all of it.
                start_new_session=True,
            )
        guard = Guard(self._process.pid, folder, self._shm_prefix)
        self._cleanup.callback(guard.dismiss)
        self._await_ready(self._process, log)

    def _await_ready(self, process: subprocess.Popen[bytes], log: ServerLog) -> None:
        deadline = time.monotonic() + self._startup_timeout_s
        while not self.is_ready():
            for line in log.read_progress():
                self._progress(line)
            if process.poll() is not None:
                raise ServerError(
                    f"tritonserver ended with code {process.returncode} while starting; its log:\n"
                    f"{log.tail()}"
                )
            if time.monotonic() > deadline:
                raise ServerError(
                    f"tritonserver was not ready after {self._startup_timeout_s:g} s; its log:\n"
                    f"{log.tail()}"
                )
            time.sleep(_POLL_INTERVAL_S)
        self._progress("ready")

    def is_ready(self) -> bool:
        """Ask the server whether every model is ready."""
        connection = http.client.HTTPConnection(self.http_address, timeout=1.0)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class TritonServer(TritonProcess):
    """The server of this package's models over one engine. A context manager.

    Args:
        settings: The engine, how it runs, and the film cache; or just the engine's folder.
        addresses: Where it listens.
        startup_timeout_s: Seconds until every model must be ready.
        exit_timeout_s: Seconds that requests under way get at the end.
        log_path: File for the server's log; None keeps it only while the server runs.
        progress: Called with a short line at each step of the start.

    Raises:
        ArtifactError: The folder is not an engine that this release can run.
    """

    def __init__(
        self,
        settings: ServingSettings | Path,
        *,
        addresses: Addresses | None = None,
        startup_timeout_s: float = STARTUP_TIMEOUT_S,
        exit_timeout_s: float = EXIT_TIMEOUT_S,
        log_path: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        if isinstance(settings, Path):
            settings = ServingSettings(settings)
        self._engine_dir = settings.engine_dir
        self._manifest = read_manifest(settings.engine_dir)
        super().__init__(
            MODEL_REPOSITORY,
            addresses=addresses,
            environment=settings.to_environment(),
            startup_timeout_s=startup_timeout_s,
            exit_timeout_s=exit_timeout_s,
            log_path=log_path,
            progress=progress,
        )

    def start(self) -> None:
        """Compare the engine with its digests, once for all models, then start.

        Raises:
            ArtifactError: A file of the engine was altered.
            ServerError: See `TritonProcess.start`.
        """
        self._progress("checking the engine's digests")
        verify_digests(self._engine_dir, self._manifest)
        super().start()

    def __enter__(self) -> TritonServer:
        self.start()
        return self


def _end(process: subprocess.Popen[bytes], exit_timeout_s: float) -> None:
    """Ask the server to end; then end whatever of its process group is left."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(exit_timeout_s + 3.0)
    with contextlib.suppress(ProcessLookupError):
        # Python stubs outlive a server that died or did not unload its models in time.
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
