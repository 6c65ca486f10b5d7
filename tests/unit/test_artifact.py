"""The engine artifact: what its manifest lists, and every way it can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from cxr_reason.engine.artifact import (
    FORMAT_VERSION,
    MANIFEST,
    FileRecord,
    Manifest,
    ModelShape,
    hash_file,
    read_manifest,
    record_files,
    verify_digests,
    write_manifest,
)
from cxr_reason.engine.registry import load_engine
from cxr_reason.errors import ArtifactError

# SHA-256 of nothing and of "abc": FIPS 180-4 examples.
SHA256_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
SHA256_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

FILES = {"vision.onnx": b"vision", "decoder/model.onnx": b"decoder" * 100, "tokenizer.json": b"{}"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete artifact. Nothing reads the models here, so they are a few bytes."""
    place = tmp_path / "engine-of-mustermann"
    for name, content in FILES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    write_manifest(place, make_manifest(record_files(place, FILES)))
    return place


def make_manifest(files: dict[str, FileRecord]) -> Manifest:
    return Manifest(
        format_version=FORMAT_VERSION,
        backend="onnx",
        precision="int4",
        checkpoint_digest="ab" * 32,
        model_notice="Untrained: größer.",
        shape=ModelShape(256, 6, 2, 64, 2080, 192, 4, 112),
        context_length=4096,
        min_pixels=128 * 128,
        max_pixels=476 * 476,
        image_token_id=2060,
        stop_token_ids=(2050, 2048),
        tool_versions={"onnxruntime": "1.32.0"},
        files=files,
    )


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    fields = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    change(fields)
    (folder / MANIFEST).write_text(json.dumps(fields), encoding="utf-8")


def refusal(folder: Path) -> str:
    """Return the message with which the folder is refused. It must not name the folder."""
    with pytest.raises(ArtifactError) as caught:
        verify_digests(folder, read_manifest(folder))
    assert "mustermann" not in caught.value.message
    assert "build" in caught.value.message or "known:" in caught.value.message
    return caught.value.message


def test_round_trip(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest == make_manifest(record_files(folder, FILES))
    assert isinstance(manifest.shape, ModelShape)
    assert isinstance(manifest.stop_token_ids, tuple)
    assert all(isinstance(record, FileRecord) for record in manifest.files.values())
    verify_digests(folder, manifest)


def test_equal_builds_give_equal_bytes(folder: Path) -> None:
    files = record_files(folder, FILES)
    backwards = dict(reversed(files.items()))
    first, second = make_manifest(files), make_manifest(backwards)
    assert list(files) == sorted(FILES)
    assert first.to_json() == second.to_json()
    assert first.digest == second.digest == read_manifest(folder).digest
    assert first.digest == hash_file(folder / MANIFEST)


def test_digest_covers_every_field(folder: Path) -> None:
    manifest = read_manifest(folder)
    changes: dict[str, Any] = {
        "format_version": FORMAT_VERSION + 1,
        "backend": "other",
        "precision": "fp32",
        "checkpoint_digest": "cd" * 32,
        "model_notice": "",
        "shape": replace(manifest.shape, head_dim=1),
        "context_length": 1,
        "min_pixels": 1,
        "max_pixels": 1,
        "image_token_id": 1,
        "stop_token_ids": (1,),
        "tool_versions": {},
        "files": {},
    }
    assert set(changes) == set(asdict(manifest))
    digests = {replace(manifest, **{name: value}).digest for name, value in changes.items()}
    assert len(digests | {manifest.digest}) == len(changes) + 1


@pytest.mark.parametrize(
    ("content", "digest"), [(b"", SHA256_EMPTY), (b"abc", SHA256_ABC)], ids=["empty", "abc"]
)
def test_hash_file_is_sha256(tmp_path: Path, content: bytes, digest: str) -> None:
    (tmp_path / "file").write_bytes(content)
    assert hash_file(tmp_path / "file") == digest


def test_hash_file_reads_past_its_block(tmp_path: Path) -> None:
    import hashlib

    content = b"0123456789abcdef" * (5 << 16)  # 5 MiB: over one block of 4 MiB
    (tmp_path / "file").write_bytes(content)
    assert hash_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_folder_without_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    assert "no manifest.json" in refusal(folder)


def test_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert "cxr-reason build" in refusal(tmp_path / "mustermann")


@pytest.mark.parametrize("version", [0, FORMAT_VERSION + 1, "1", None], ids=repr)
def test_other_version(folder: Path, version: object) -> None:
    change_manifest(folder, lambda fields: fields.update(format_version=version))
    assert f"format version {version}; this release reads {FORMAT_VERSION}" in refusal(folder)


def test_version_is_named_even_where_the_fields_changed(folder: Path) -> None:
    version = FORMAT_VERSION + 1
    change_manifest(folder, lambda fields: fields.update(format_version=version, adapters=[]))
    assert f"format version {version}" in refusal(folder)


def test_unknown_backend(folder: Path) -> None:
    change_manifest(folder, lambda fields: fields.update(backend="tensorflow"))
    with pytest.raises(ArtifactError, match="'tensorflow'; known: onnx"):
        load_engine(folder)


@pytest.mark.parametrize("name", FILES)
def test_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"{name} is missing" in refusal(folder)


def test_folder_in_place_of_a_file(folder: Path) -> None:
    (folder / "vision.onnx").unlink()
    (folder / "vision.onnx").mkdir()
    assert "vision.onnx is missing" in refusal(folder)


@pytest.mark.parametrize("content", [b"", b"visio", b"vision0"], ids=["empty", "cut", "longer"])
def test_wrong_size(folder: Path, content: bytes) -> None:
    (folder / "vision.onnx").write_bytes(content)
    assert f"vision.onnx has {len(content)} bytes, the manifest says 6" in refusal(folder)


def test_altered_file_of_the_same_size(folder: Path) -> None:
    (folder / "decoder/model.onnx").write_bytes(b"decodes" * 100)
    read_manifest(folder)  # sizes agree; only the digest can tell
    assert "decoder/model.onnx does not match its digest" in refusal(folder)


@pytest.mark.parametrize(
    "name", ["../x", "decoder/../../x", "..", "/etc/hostname", "a/../..", "//x"], ids=repr
)
def test_manifest_cannot_list_files_outside(folder: Path, name: str) -> None:
    outside = folder.parent / "x"
    outside.write_bytes(b"abc")
    record = {"size_bytes": 3, "sha256": SHA256_ABC}
    change_manifest(folder, lambda fields: fields["files"].update({name: record}))
    assert "manifest.json is damaged" in refusal(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "5",
        '"text"',
        "{}",
        '{"files": []}',
        '{"files": {"a": []}}',
        '{"files": {}}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:20] or "empty",
)
def test_damaged_manifest(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    assert "manifest.json is damaged" in refusal(folder)


def test_manifest_that_is_not_text(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"\xff\xfe\x00")
    assert "manifest.json is damaged" in refusal(folder)


def test_manifest_cut_anywhere(folder: Path) -> None:
    whole = (folder / MANIFEST).read_bytes().rstrip()
    for length in range(0, len(whole), 7):
        (folder / MANIFEST).write_bytes(whole[:length])
        assert "manifest.json is damaged" in refusal(folder)


@pytest.mark.parametrize("name", asdict(make_manifest({})))
def test_missing_field(folder: Path, name: str) -> None:
    change_manifest(folder, lambda fields: fields.pop(name))
    assert "manifest.json is damaged" in refusal(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.update(extra=1),
        lambda fields: fields.update(stop_token_ids=5),
        lambda fields: fields["shape"].update(extra=1),
        lambda fields: fields["shape"].pop("head_dim"),
        lambda fields: fields["files"]["vision.onnx"].pop("sha256"),
        lambda fields: fields["files"]["vision.onnx"].update(mode=0o777),
        lambda fields: fields["files"]["vision.onnx"].update(sha256="AB" * 32),
        lambda fields: fields["files"]["vision.onnx"].update(sha256="ab" * 31),
        lambda fields: fields["files"]["vision.onnx"].update(sha256=5),
    ],
    ids=[
        "extra-field",
        "stop-tokens-as-number",
        "extra-in-shape",
        "missing-in-shape",
        "file-without-digest",
        "extra-in-file",
        "digest-in-capitals",
        "digest-too-short",
        "digest-as-number",
    ],
)
def test_fields_that_do_not_match(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    change_manifest(folder, change)
    assert "manifest.json is damaged" in refusal(folder)


def test_manifest_is_replaced_and_never_written_over(folder: Path) -> None:
    """A reader that has the old one open reads the old one to its end."""
    old_text = (folder / MANIFEST).read_text(encoding="utf-8")
    held = folder.parent / "held.json"
    held.hardlink_to(folder / MANIFEST)
    write_manifest(folder, replace(read_manifest(folder), model_notice="new"))
    assert held.read_text(encoding="utf-8") == old_text
    assert read_manifest(folder).model_notice == "new"
    assert sorted(path.name for path in folder.iterdir()) == [
        "decoder",
        MANIFEST,
        "tokenizer.json",
        "vision.onnx",
    ]


def test_interrupted_write_leaves_what_was_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_manifest(folder)

    def fail(self: Path, target: Path) -> Path:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        write_manifest(folder, replace(before, model_notice="new"))
    assert read_manifest(folder) == before
    (folder / MANIFEST).unlink()
    with pytest.raises(OSError, match="no space"):
        write_manifest(folder, before)
    assert "no manifest.json" in refusal(folder)
