# /// script
# dependencies = [
#     "aiperf==0.13.0",
# ]
# ///
"""AIPerf on Triton's `generate_stream`: its endpoint type `template` is the one that fits.

Films are noise, each different, and prompts are random words: nothing comes from a cache.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_TEMPLATE = (
    '{"prompt": {{ text|tojson }}, "image": {{ image|tojson }}, "max_tokens": {{ max_tokens }}}'
)


def main(job_path: str) -> None:
    """Run aiperf once.

    Args:
        job_path: JSON with `url`, `model`, `tokenizer`, `concurrency`, `requests`, `tokens`,
            `size_px` and `output`, the folder that aiperf writes to.
    """
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    template = Path(job["output"]).with_suffix(".template.json")
    template.write_text(_TEMPLATE, encoding="utf-8")
    command = [str(Path(sys.executable).with_name("aiperf")), "profile"]
    command += ["--model-names", job["model"], "--url", job["url"]]
    command += ["--endpoint-type", "template"]
    command += ["--custom-endpoint", f"/v2/models/{job['model']}/generate_stream"]
    command += ["--extra-inputs", f"payload_template:{template}"]
    command += ["--extra-inputs", "response_field:text", "--streaming"]
    command += ["--image-width-mean", str(job["size_px"])]
    command += ["--image-height-mean", str(job["size_px"]), "--image-format", "jpeg"]
    command += ["--prompt-input-tokens-mean", "32"]
    command += ["--prompt-output-tokens-mean", str(job["tokens"])]
    command += ["--concurrency", str(job["concurrency"])]
    command += ["--request-count", str(job["requests"]), "--tokenizer", job["tokenizer"]]
    command += ["--no-gpu-telemetry", "--no-server-metrics", "--ui-type", "none"]
    command += ["--output-artifact-dir", job["output"]]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main(sys.argv[1])
