"""The engine artifact: a folder of compiled files, and a manifest with their digests."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cxr_reason.errors import ArtifactError

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
CHAT_TEMPLATE = "chat_template.jinja"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ModelShape:
    """The numbers of the model that a runtime needs.

    Attributes:
        hidden_size: Width of a visual token and of a text embedding.
        num_layers: Decoder layers.
        num_kv_heads: Key and value heads a layer.
        head_dim: Width of one head.
        vocab_size: Rows of the embedding table.
        vision_hidden_size: Width of the vision tower.
        vision_num_heads: Heads of the vision tower.
        window_size_px: Side of an attention window of the tower, in pixels.
    """

    hidden_size: int
    num_layers: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    vision_hidden_size: int
    vision_num_heads: int
    window_size_px: int

    @property
    def kv_bytes_per_token(self) -> int:
        """Memory of one token's keys and values in fp32."""
        return 2 * 4 * self.num_layers * self.num_kv_heads * self.head_dim


@dataclass(frozen=True)
class FileRecord:
    """One file of the artifact.

    Attributes:
        size_bytes: Its length.
        sha256: Digest of its bytes, hexadecimal.
    """

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The description of an artifact.

    Attributes:
        format_version: Version of this layout.
        backend: Name of the backend that runs it.
        precision: Precision of the decoder's weights.
        checkpoint_digest: SHA-256 over the source checkpoint's files.
        model_notice: Notice of the checkpoint to its users, or empty.
        shape: Sizes of the model.
        context_length: Most tokens of prompt and answer together.
        min_pixels: Lower end of the pixel budget.
        max_pixels: Upper end of the pixel budget.
        image_token_id: Token that stands for one visual token.
        stop_token_ids: Tokens that end a turn.
        tool_versions: Versions of what built it.
        files: Every other file of the folder, by relative path.
    """

    format_version: int
    backend: str
    precision: str
    checkpoint_digest: str
    model_notice: str
    shape: ModelShape
    context_length: int
    min_pixels: int
    max_pixels: int
    image_token_id: int
    stop_token_ids: tuple[int, ...]
    tool_versions: dict[str, str]
    files: dict[str, FileRecord]

    def to_json(self) -> str:
        """Return the text of `manifest.json`; equal builds give equal text."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, which holds the digest of every file."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest last: a folder without it is not an artifact."""
    partial = folder / f"{MANIFEST}.partial"
    partial.write_text(manifest.to_json(), encoding="utf-8")
    partial.replace(folder / MANIFEST)


def read_manifest(folder: Path) -> Manifest:
    """Read and check a manifest, and that every file is there with its size.

    Raises:
        ArtifactError: The folder is no artifact or one of another version, or a file is missing or
            has another size.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtifactError(
            f"engine: no {MANIFEST} in the given folder; build one with `cxr-reason build`"
        )
    manifest = _parse(path)
    for name, record in manifest.files.items():
        file = folder / name
        if not file.is_file():
            raise ArtifactError(f"engine: {name} is missing: build the engine again")
        if (size := file.stat().st_size) != record.size_bytes:
            raise ArtifactError(
                f"engine: {name} has {size} bytes, the manifest says {record.size_bytes}: "
                "build the engine again"
            )
    return manifest


def verify_digests(folder: Path, manifest: Manifest) -> None:
    """Read every file and compare its digest (seconds a GB).

    Raises:
        ArtifactError: A file was altered.
    """
    for name, record in manifest.files.items():
        if hash_file(folder / name) != record.sha256:
            raise ArtifactError(f"engine: {name} does not match its digest: build the engine again")


def record_files(folder: Path, names: Iterable[str]) -> dict[str, FileRecord]:
    """Return size and digest of the named files, in sorted order."""
    return {
        name: FileRecord((folder / name).stat().st_size, hash_file(folder / name))
        for name in sorted(names)
    }


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _parse(path: Path) -> Manifest:
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        # First: the fields of another version may be others.
        if (version := fields["format_version"]) != FORMAT_VERSION:
            raise ArtifactError(
                f"engine: format version {version}; this release reads {FORMAT_VERSION}: "
                "build the engine again"
            )
        files = {name: FileRecord(**record) for name, record in fields.pop("files").items()}
        return Manifest(
            shape=ModelShape(**fields.pop("shape")),
            stop_token_ids=tuple(fields.pop("stop_token_ids")),
            files={name: record for name, record in files.items() if _is_inside(name, record)},
            **fields,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError(
            f"engine: {MANIFEST} is damaged or from another release: build the engine again"
        ) from error


def _is_inside(name: str, record: FileRecord) -> bool:
    """Check that a file of a manifest is inside its folder and has a digest."""
    if Path(name).is_absolute() or ".." in Path(name).parts or not _SHA256.fullmatch(record.sha256):
        raise ValueError(name)
    return True
