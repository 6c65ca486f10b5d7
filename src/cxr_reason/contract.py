"""The served tensors, declared once.

The files `model_repository/*/config.pbtxt`, the models, the client and the documentation all
follow from the specifications below (`cxr_reason.serving.model_config` renders them).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DataType = Literal["BYTES", "FP32", "INT32", "UINT64"]

ENSEMBLE = "cxr_reasoning"
PREPROCESS = "preprocess"
VISION = "vision"
REASON = "reason"

MAX_PROMPT_CHARS = 32_768
DEFAULT_MAX_TOKENS = 2_048  # the traces the model was trained on end before 1,800
DEFAULT_TEMPERATURE = 0.0  # greedy
DEFAULT_TOP_P = 1.0
DEFAULT_SEED = 0
DEFAULT_NUM_TRACES = 1
DEFAULT_TEMPERATURE_OF_TRACES = 1.0  # with more than one; shares of traces are calibrated at it
MAX_NUM_TRACES = 16
# As `answer_format`: names of `findings.LABELS`. Anything else is a JSON schema.
LABEL_ANSWER = "labels"

# A request to `reason` with this parameter ends the one with the same request id, which then
# answers that it was cancelled. Kinder to the server than cancelling the call
# (`client/exchange.py`).
CANCEL_PARAMETER = "cxr_cancel"


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
MAX_TOKENS = TensorSpec("max_tokens", "INT32", (1,), "limit of generated tokens", optional=True)
TEMPERATURE = TensorSpec("temperature", "FP32", (1,), "0 is greedy", optional=True)
TOP_P = TensorSpec("top_p", "FP32", (1,), "nucleus probability, over 0 to 1", optional=True)
SEED = TensorSpec("seed", "UINT64", (1,), "same seed, same text", optional=True)
NUM_TRACES = TensorSpec(
    "num_traces", "INT32", (1,), "sampled traces of the film, 1 to 16", optional=True
)
ANSWER_FORMAT = TensorSpec(
    "answer_format", "BYTES", (1,), "of the answer: `labels`, or a JSON schema", optional=True
)

PATCHES = TensorSpec("patches", "FP32", (-1, 196), "gray patches 14 x 14 in 0..1, merge order")
GRID = TensorSpec("grid", "INT32", (2,), "rows and columns of patches")
FILM = TensorSpec("film", "BYTES", (1,), "JSON: digest, view, spacing, flags")
VISUAL_TOKENS = TensorSpec("visual_tokens", "FP32", (-1, -1), "one row a 2 x 2 block of patches")

TEXT = TensorSpec("text", "BYTES", (1,), "new text only, never cumulative")
FINISH_REASON = TensorSpec("finish_reason", "BYTES", (1,), "empty until the last: stop or length")
READING = TensorSpec("reading", "BYTES", (1,), "JSON, in the last response only; empty before")

_SAMPLING = (MAX_TOKENS, TEMPERATURE, TOP_P, SEED, NUM_TRACES, ANSWER_FORMAT)
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
        *_SAMPLING,
    ),
    outputs=_ANSWER,
    decoupled=True,
)
ENSEMBLE_MODEL = ModelSpec(
    ENSEMBLE,
    inputs=(IMAGE, PROMPT, *_SAMPLING),
    outputs=_ANSWER,
    decoupled=True,
    steps=(PREPROCESS_MODEL, VISION_MODEL, REASON_MODEL),
)
MODELS: tuple[ModelSpec, ...] = (PREPROCESS_MODEL, VISION_MODEL, REASON_MODEL, ENSEMBLE_MODEL)
