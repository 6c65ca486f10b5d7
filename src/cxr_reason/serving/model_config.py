"""`contract.py` → `model_repository/*/config.pbtxt`.

python -m cxr_reason.serving.model_config           # write the files
python -m cxr_reason.serving.model_config --check   # exit code 1 if one is out of date
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format  # type: ignore[import-untyped, unused-ignore]
from tritonclient.grpc import model_config_pb2

from cxr_reason.contract import MODELS, ModelSpec, TensorSpec

MODEL_REPOSITORY = Path(__file__).with_name("model_repository")

_TRITON_NAMES = {"BYTES": "STRING"}  # every other data type has one name in both places
_HEADER = "# Written by `python -m cxr_reason.serving.model_config` from contract.py.\n"


def render_config(spec: ModelSpec) -> str:
    """Return the text of `config.pbtxt` for one model."""
    config = model_config_pb2.ModelConfig(
        name=spec.name,
        # Batching happens inside the engine, across requests of different length.
        max_batch_size=0,
        input=[
            model_config_pb2.ModelInput(optional=tensor.optional, **_tensor_fields(tensor))
            for tensor in spec.inputs
        ],
        output=[model_config_pb2.ModelOutput(**_tensor_fields(tensor)) for tensor in spec.outputs],
    )
    config.model_transaction_policy.decoupled = spec.decoupled
    if spec.steps:
        config.platform = "ensemble"
        known = {tensor.name for tensor in spec.inputs}
        for step in spec.steps:
            config.ensemble_scheduling.step.append(_render_step(step, known))
            known |= {tensor.name for tensor in step.outputs}
    else:
        config.backend = "python"
        # The engine chooses its own device; the Python process itself stays on the CPU.
        config.instance_group.add(count=1, kind=model_config_pb2.ModelInstanceGroup.KIND_CPU)
    return _HEADER + text_format.MessageToString(config)


def stale_configs(repository: Path = MODEL_REPOSITORY) -> dict[Path, str]:
    """Return the files that are missing or differ from the contract, with their right text."""
    wanted = {repository / spec.name / "config.pbtxt": render_config(spec) for spec in MODELS}
    return {
        path: text
        for path, text in wanted.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    }


def _tensor_fields(tensor: TensorSpec) -> dict[str, Any]:
    data_type = f"TYPE_{_TRITON_NAMES.get(tensor.dtype, tensor.dtype)}"
    return {
        "name": tensor.name,
        "data_type": model_config_pb2.DataType.Value(data_type),
        "dims": tensor.shape,
    }


def _render_step(step: ModelSpec, known: set[str]) -> Any:
    # Names are the same everywhere, so a tensor connects to itself; what no earlier step makes
    # (`image` of `reason`, once its visual tokens are there) stays unconnected.
    return model_config_pb2.ModelEnsembling.Step(
        model_name=step.name,
        model_version=-1,
        input_map={
            tensor.name: tensor.name
            for tensor in step.inputs
            if tensor.name in known and not _is_superseded(tensor, step, known)
        },
        output_map={tensor.name: tensor.name for tensor in step.outputs},
    )


def _is_superseded(tensor: TensorSpec, step: ModelSpec, known: set[str]) -> bool:
    """The film goes to a step once: as visual tokens where they exist, else as the image."""
    names = {other.name for other in step.inputs} & known
    return tensor.name == "image" and "visual_tokens" in names


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the files; return the exit code."""
    parser = argparse.ArgumentParser(description="Render model_repository/*/config.pbtxt.")
    parser.add_argument("--check", action="store_true", help="write nothing, report differences")
    options = parser.parse_args(arguments)
    stale = stale_configs()
    for path, text in stale.items():
        if options.check:
            sys.stderr.write(f"{path.parent.name}/{path.name} differs from contract.py\n")
        else:
            path.write_text(text, encoding="utf-8")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
