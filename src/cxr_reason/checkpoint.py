"""A Qwen2.5-VL checkpoint in the Hugging Face layout. Only reading tensors needs torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxr_reason.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

ARCHITECTURE = "Qwen2_5_VLForConditionalGeneration"
NOTICE_KEY = "cxr_reason_notice"

# The 3B checkpoint's config.json leaves these out: class defaults of transformers'
# `configuration_qwen2_5_vl.py`.
_VISION_DEFAULTS: dict[str, Any] = {
    "depth": 32,
    "intermediate_size": 3420,
    "num_heads": 16,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
_REQUIRED = ("config.json", "tokenizer.json", "preprocessor_config.json")
# Where releases of transformers keep the template; the first one found is used.
_CHAT_TEMPLATES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
_DOWNLOAD = ("*.json", "*.jinja", "*.safetensors")


class Checkpoint:
    """One checkpoint folder.

    Attributes:
        folder: Where it is.
        text: Decoder configuration, as in `config.json`.
        vision: Vision configuration, with the defaults filled in.
        preprocessor: `preprocessor_config.json`.

    Raises:
        CheckpointError: Files missing or damaged, or another architecture.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise CheckpointError("checkpoint: the folder does not exist")
        missing = [name for name in _REQUIRED if not (folder / name).is_file()]
        if missing:
            raise CheckpointError(
                f"checkpoint: {', '.join(missing)} missing; needed are a Hugging Face folder's "
                f"{', '.join(_REQUIRED)}, a chat template and *.safetensors"
            )
        self.config = _read_json(folder / "config.json")
        architectures = self.config.get("architectures") or ["none"]
        if architectures[0] != ARCHITECTURE:
            raise CheckpointError(
                f"checkpoint: architecture {architectures[0]!r} is not supported; "
                f"this release reads {ARCHITECTURE}"
            )
        # transformers 5 nests the decoder's settings, earlier releases do not.
        self.text: Mapping[str, Any] = self.config.get("text_config", self.config)
        vision = self.config.get("vision_config")
        if not isinstance(vision, dict):
            raise CheckpointError("checkpoint: config.json has no vision_config")
        self.vision: Mapping[str, Any] = {**_VISION_DEFAULTS, **vision}
        self.preprocessor = _read_json(folder / "preprocessor_config.json")

    @property
    def notice(self) -> str:
        """The notice that the checkpoint gives to its users, or empty."""
        return str(self.config.get(NOTICE_KEY, ""))

    @cached_property
    def weight_files(self) -> tuple[Path, ...]:
        """The safetensors files, all of them present.

        Raises:
            CheckpointError: None, or one that the index names is missing.
        """
        index = self.folder / "model.safetensors.index.json"
        if index.is_file():
            weight_map = _read_json(index).get("weight_map")
            if not isinstance(weight_map, dict):
                raise CheckpointError(f"checkpoint: {index.name} has no weight_map")
            names = sorted({str(name) for name in weight_map.values()})
        else:
            names = sorted(path.name for path in self.folder.glob("*.safetensors"))
        missing = [name for name in names if not (self.folder / name).is_file()]
        if missing or not names:
            what = ", ".join(missing) or "*.safetensors"
            raise CheckpointError(f"checkpoint: {what} missing; download the weights again")
        return tuple(self.folder / name for name in names)

    @cached_property
    def tensor_files(self) -> dict[str, tuple[Path, str]]:
        """File and stored name of every tensor, by its plain name.

        Plain names are `visual.…`, `layers.…`, `embed_tokens.weight`, whatever release saved them.

        Raises:
            CheckpointError: A weight file is damaged or truncated.
        """
        places: dict[str, tuple[Path, str]] = {}
        for file in self.weight_files:
            with _open_weights(file) as weights:
                names = weights.keys()
                places |= {_plain_name(name): (file, name) for name in names}
        return places

    def load_tensor(self, name: str) -> Tensor:
        """Load one tensor, in the dtype it is stored in.

        Raises:
            CheckpointError: The weights do not hold it.
        """
        if name not in self.tensor_files:
            raise CheckpointError(f"checkpoint: tensor {name} missing from the weights")
        file, stored_name = self.tensor_files[name]
        with _open_weights(file) as weights:
            return weights.get_tensor(stored_name)

    @cached_property
    def chat_template(self) -> str:
        """The Jinja template of the conversation.

        Raises:
            CheckpointError: There is none.
        """
        file = self.folder / _CHAT_TEMPLATES[0]
        if file.is_file():
            return file.read_text(encoding="utf-8")
        for name in _CHAT_TEMPLATES[1:]:
            path = self.folder / name
            template = _read_json(path).get("chat_template") if path.is_file() else None
            if isinstance(template, str):
                return template
        raise CheckpointError("checkpoint: no chat template (chat_template.jinja) found")

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """Tokens that end a turn: of `generation_config.json`, else of the configuration."""
        path = self.folder / "generation_config.json"
        generation = _read_json(path) if path.is_file() else {}
        ids = generation.get("eos_token_id")
        if ids is None:
            ids = self.text.get("eos_token_id")
        if ids is None:
            raise CheckpointError("checkpoint: no eos_token_id in its configuration")
        return tuple(ids) if isinstance(ids, list) else (int(ids),)

    def digest(self) -> str:
        """SHA-256 over names and contents of all files that decide what the model does."""
        digest = hashlib.sha256()
        names = {*_REQUIRED, *_CHAT_TEMPLATES, "generation_config.json"}
        files = [self.folder / name for name in sorted(names)] + list(self.weight_files)
        for path in files:
            if path.is_file():
                digest.update(path.name.encode() + b"\0")
                with path.open("rb") as file:
                    while block := file.read(1 << 22):
                        digest.update(block)
        return digest.hexdigest()


def open_checkpoint(name: str) -> Checkpoint:
    """Open a local folder, or download a checkpoint of the Hugging Face hub.

    Args:
        name: A path, or a hub id such as `nvidia/NV-Reason-CXR-3B`.

    Raises:
        CheckpointError: Neither a folder nor a hub id that can be downloaded.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return Checkpoint(folder)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(
            "checkpoint: not a folder, and not of the form OWNER/NAME of a Hugging Face id"
        )
    from huggingface_hub import snapshot_download

    try:
        download = snapshot_download(name, allow_patterns=list(_DOWNLOAD))
    except Exception as error:  # the errors of the hub's HTTP client have no common base
        raise CheckpointError(
            f"checkpoint: {name} cannot be downloaded ({type(error).__name__}); check the name, "
            "the network and `hf auth login`, or give a local folder"
        ) from error
    return Checkpoint(Path(download))


def _plain_name(name: str) -> str:
    for prefix in ("model.language_model.", "language_model.model.", "model."):
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def _read_json(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"checkpoint: {path.name} is not valid JSON") from error
    if not isinstance(fields, dict):
        raise CheckpointError(f"checkpoint: {path.name} is not a JSON object")
    return fields


@contextmanager
def _open_weights(file: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as weights:
            yield weights
    except SafetensorError as error:
        raise CheckpointError(
            f"checkpoint: {file.name} is damaged or truncated; download it again"
        ) from error
