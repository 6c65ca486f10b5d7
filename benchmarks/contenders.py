"""The engines that `cxr-reason bench engine` measures: ours and its peers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cxr_reason.errors import BadRequestError

_SCRIPTS = Path(__file__).parent / "peers"
OURS = _SCRIPTS / "cxr_engine.py"


@dataclass(frozen=True)
class Contender:
    """One engine in one precision.

    Attributes:
        name: In tables and results.
        script: What runs it; its header names what must be installed.
        options: For the script.
        model: A folder that is ready, instead of one that the script prepares.
    """

    name: str
    script: Path
    options: dict[str, str] = field(default_factory=dict)
    model: Path | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it is this package, which runs in this environment."""
        return self.script == OURS


# In the order in which they run.
PEERS = {
    "openvino": Contender("OpenVINO GenAI int4", _SCRIPTS / "genai_openvino.py"),
    "onnxruntime-genai": Contender(
        "onnxruntime-genai int4, decoder alone", _SCRIPTS / "genai_onnx.py"
    ),
    "mistralrs": Contender(
        "mistral.rs Q4K", _SCRIPTS / "mistral_rs.py", {"quantization": "Q4K"}
    ),
    "vllm": Contender("vLLM bf16", _SCRIPTS / "vllm_cpu.py", {"dtype": "bfloat16"}),
    "transformers-bf16": Contender(
        "transformers bf16", _SCRIPTS / "transformers_hf.py", {"dtype": "bfloat16"}
    ),
    "transformers-fp32": Contender(
        "transformers fp32", _SCRIPTS / "transformers_hf.py", {"dtype": "float32"}
    ),
}  # fmt: skip


def choose_peers(names: str) -> list[Contender]:
    """Return the peers that a comma-separated list names.

    Args:
        names: Keys of `PEERS`, paths of scripts (ending in .py), "all" or "none".

    Raises:
        BadRequestError: A name is none of these.
    """
    if names in ("all", "none"):
        return list(PEERS.values()) if names == "all" else []
    chosen = []
    for name in names.split(","):
        script = Path(name)
        if name in PEERS:
            chosen.append(PEERS[name])
        elif script.suffix == ".py" and script.is_file():
            chosen.append(Contender(script.stem, script.resolve()))
        else:
            raise BadRequestError(
                f"peers: {name!r}; a script of your own (.py), all, none, or of: {', '.join(PEERS)}"
            )
    return chosen
