"""Measures a running server with aiperf, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from cxr_reason.benchmarks.comparison import Value
from cxr_reason.benchmarks.environments import make_environment, read_tail
from cxr_reason.contract import ENSEMBLE
from cxr_reason.errors import EngineError

SCRIPT = Path(__file__).parent / "peers" / "aiperf_profile.py"

# Name in aiperf's export → ours, and the unit, which is aiperf's.
_METRICS = {
    "time_to_first_token": ("time to first token", "ms"),
    "inter_token_latency": ("time per token", "ms"),
    "request_latency": ("end to end", "ms"),
    "output_token_throughput": ("throughput", "tokens/s"),
}


def run_aiperf(
    address: str,
    tokenizer: Path,
    *,
    cache: Path,
    scratch: Path,
    concurrency: int,
    num_requests: int,
    tokens: int,
    size_px: int,
) -> dict[str, Value]:
    """Return what aiperf measures of the ensemble: medians, by our names.

    Args:
        address: "host:port" of HTTP.
        tokenizer: Folder with the tokenizer that counts tokens.
        cache: Folder of the environment.
        scratch: Folder for what it writes.
        concurrency: Requests at once.
        num_requests: Requests in all.
        tokens: Limit of generated tokens.
        size_px: Rows and columns of a film.

    Raises:
        EngineError: The environment cannot be made, or aiperf failed; with its last lines.
    """
    log, output = scratch / "aiperf.log", scratch / f"aiperf-{concurrency}"
    folder = cache / SCRIPT.stem
    folder.mkdir(parents=True, exist_ok=True)
    python = make_environment(SCRIPT, folder / "environment", log)
    job = {
        "url": f"http://{address}",
        "model": ENSEMBLE,
        "tokenizer": str(tokenizer),
        "concurrency": concurrency,
        "requests": num_requests,
        "tokens": tokens,
        "size_px": size_px,
        "output": str(output),
    }
    job_path = scratch / "aiperf.json"
    job_path.write_text(json.dumps(job), encoding="utf-8")
    # With it, aiperf looks for a local tokenizer in the hub's cache only.
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    with log.open("wb") as lines:
        code = subprocess.run(
            [str(python), str(SCRIPT), str(job_path)],
            stdin=subprocess.DEVNULL, stdout=lines, stderr=subprocess.STDOUT, env=environment,
            check=False,
        ).returncode  # fmt: skip
    exports = list(output.rglob("profile_export_aiperf.json"))
    if code != 0 or not exports:
        raise EngineError(f"aiperf: failed:\n{read_tail(log)}")
    return read_export(json.loads(exports[0].read_text(encoding="utf-8")), num_requests)


def read_export(export: dict[str, Any], num_requests: int) -> dict[str, Value]:
    """Return the metrics of `profile_export_aiperf.json` that we name."""
    found = {}
    for key, (name, unit) in _METRICS.items():
        metric = export.get(key)
        if metric is not None:
            value = metric.get("p50", metric.get("avg"))
            found[name] = Value(float(value), unit, num_requests)
    return found
