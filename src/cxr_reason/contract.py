"""The served tensors, declared once.

The files `model_repository/*/config.pbtxt`, the models, the client and the documentation all
follow from the specifications below (`cxr_reason.serving.model_config` renders them).
"""

from __future__ import annotations

from dataclasses import dataclass

from cxr_reason.settings import SETTINGS, DataType

ENSEMBLE = "cxr_reasoning"
PREPROCESS = "preprocess"
VISION = "vision"
REASON = "reason"

MAX_PROMPT_CHARS = 32_768
MAX_FILM_BYTES = 64 * 2**20

# A request to `reason` with this parameter ends the one with the same request id, which then
# answers that it was cancelled. Safer for the server than cancelling the call
# (`client/exchange.py`).
CANCEL_PARAMETER = "cxr_cancel"
# With this parameter `reason` tells `preprocess` the digest of the film, which it has computed.
DIGEST_PARAMETER = "cxr_image_digest"


@dataclass(frozen=True)
class TensorSpec:
    """One tensor on the wire.

    Attributes:
        name: The same name in every model that has it.
        dtype: Triton's data type. Text and files are BYTES.
        shape: Without a batch dimension; -1 where it varies.
        optional: The request may leave it out (inputs only).
        meaning: One line for the documentation.
    """

    name: str
    dtype: DataType
    shape: tuple[int, ...]
    meaning: str
    optional: bool = False


@dataclass(frozen=True)
class ModelSpec:
    """One model of the repository.

    Attributes:
        name: Folder name in `model_repository/`.
        inputs: In the order of config.pbtxt.
        outputs: In the order of config.pbtxt.
        decoupled: Sends any number of responses for one request.
        steps: For an ensemble, the models it calls, in order. Tensors connect by name.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    decoupled: bool = False
    steps: tuple[ModelSpec, ...] = ()


IMAGE = TensorSpec("image", "BYTES", (1,), "DICOM, PNG or JPEG file, or a data: URL of one")
PROMPT = TensorSpec("prompt", "BYTES", (1,), "plain text, or a JSON list of chat messages")
IMAGE_DIGEST = TensorSpec(
    "image_digest", "BYTES", (1,), "SHA-256 (hex) of a film sent before", optional=True
)
SETTING_TENSORS = {
    name: TensorSpec(name, setting.dtype, (1,), setting.meaning, optional=True)
    for name, setting in SETTINGS.items()
    if setting.dtype is not None
}

PATCHES = TensorSpec("patches", "FP32", (-1, 196), "gray patches 14 x 14 in 0..1, merge order")
GRID = TensorSpec("grid", "INT32", (2,), "rows and columns of patches")
FILM = TensorSpec("film", "BYTES", (1,), "JSON: digest, view, spacing, flags")
VISUAL_TOKENS = TensorSpec("visual_tokens", "FP32", (-1, -1), "one row a 2 x 2 block of patches")

TEXT = TensorSpec("text", "BYTES", (1,), "new text only, never cumulative")
FINISH_REASON = TensorSpec("finish_reason", "BYTES", (1,), "empty until the last: stop or length")
READING = TensorSpec("reading", "BYTES", (1,), "JSON, in the last response only; empty before")

_ANSWER = (TEXT, FINISH_REASON, READING)


def _optional(spec: TensorSpec) -> TensorSpec:
    return TensorSpec(spec.name, spec.dtype, spec.shape, spec.meaning, optional=True)


PREPROCESS_MODEL = ModelSpec(PREPROCESS, inputs=(IMAGE,), outputs=(PATCHES, GRID, FILM))
VISION_MODEL = ModelSpec(VISION, inputs=(PATCHES, GRID), outputs=(VISUAL_TOKENS,))
REASON_MODEL = ModelSpec(
    REASON,
    inputs=(
        PROMPT,
        _optional(IMAGE),
        IMAGE_DIGEST,
        _optional(VISUAL_TOKENS),
        _optional(GRID),
        _optional(FILM),
        *SETTING_TENSORS.values(),
    ),
    outputs=_ANSWER,
    decoupled=True,
)
ENSEMBLE_MODEL = ModelSpec(
    ENSEMBLE,
    inputs=(IMAGE, PROMPT, *SETTING_TENSORS.values()),
    outputs=_ANSWER,
    decoupled=True,
    steps=(PREPROCESS_MODEL, VISION_MODEL, REASON_MODEL),
)
MODELS: tuple[ModelSpec, ...] = (PREPROCESS_MODEL, VISION_MODEL, REASON_MODEL, ENSEMBLE_MODEL)
