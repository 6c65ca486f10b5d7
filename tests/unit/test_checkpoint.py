"""Checkpoint folders: the bundled one opens, each broken copy is refused before any work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxr_reason.checkpoint import Checkpoint, open_checkpoint
from cxr_reason.errors import CheckpointError

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def nano(repository: Path) -> Path:
    return repository / "checkpoints" / "nano"


@pytest.fixture
def copy(nano: Path, tmp_path: Path) -> Path:
    """A copy to break. The weights are linked: tests replace them and never write into them."""
    folder = tmp_path / "ckpt-of-mustermann"
    folder.mkdir()
    for file in nano.iterdir():
        if file.suffix == ".safetensors":
            (folder / file.name).symlink_to(file)
        else:
            shutil.copy(file, folder)
    return folder


def open_fully(folder: Path) -> Checkpoint:
    """Touch everything that a build reads before its first step."""
    checkpoint = open_checkpoint(str(folder))
    assert checkpoint.chat_template
    assert checkpoint.stop_token_ids
    assert checkpoint.tensor_files
    return checkpoint


def refusal(folder: Path) -> str:
    """Return the message with which a folder is refused. It must not name the folder."""
    with pytest.raises(CheckpointError) as caught:
        open_fully(folder)
    assert "mustermann" not in caught.value.message
    assert caught.value.message.startswith("checkpoint: ")
    return caught.value.message


def change_json(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    fields = json.loads(file.read_text(encoding="utf-8"))
    change(fields)
    file.write_text(json.dumps(fields), encoding="utf-8")


def cut_weights(folder: Path, keep: Callable[[int], int]) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes(whole[: keep(len(whole))])


def shard(folder: Path) -> None:
    """Split the weights in two files with an index, as large checkpoints are."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    halves = (names[::2], names[1::2])
    for file, half in zip(SHARDS, halves, strict=True):
        save_file({name: tensors[name] for name in half}, folder / file)
    weight_map = {name: file for file, half in zip(SHARDS, halves, strict=True) for name in half}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_bundled_checkpoint_opens(nano: Path) -> None:
    checkpoint = open_fully(nano)
    assert checkpoint.text["hidden_size"] == 256
    assert checkpoint.vision["depth"] == 6
    assert checkpoint.stop_token_ids
    assert checkpoint.preprocessor["patch_size"] == 14
    assert "<|image_pad|>" in checkpoint.chat_template
    assert [file.name for file in checkpoint.weight_files] == ["model.safetensors"]
    assert checkpoint.notice == json.loads((nano / "config.json").read_text())["cxr_reason_notice"]


def test_tensors_have_plain_names_and_their_stored_dtype(nano: Path) -> None:
    import torch

    checkpoint = Checkpoint(nano)
    assert {name.split(".")[0] for name in checkpoint.tensor_files} == {
        "visual",
        "layers",
        "embed_tokens",
        "norm",
    }
    table = checkpoint.load_tensor("embed_tokens.weight")
    assert table.shape == (checkpoint.text["vocab_size"], checkpoint.text["hidden_size"])
    assert table.dtype == torch.bfloat16
    with pytest.raises(CheckpointError, match=r"tensor lm_head\.bias missing"):
        checkpoint.load_tensor("lm_head.bias")


@pytest.mark.parametrize(
    ("decoder", "tower"),
    [
        ("model.", "visual."),
        ("model.language_model.", "model.visual."),
        ("language_model.model.", "visual."),
    ],
    ids=["transformers-4", "transformers-5", "nested"],
)
def test_names_of_every_release_are_read(nano: Path, copy: Path, decoder: str, tower: str) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    renamed = {
        (tower + name.removeprefix("visual."))
        if name.startswith("visual.")
        else (decoder + name.removeprefix("model.")): tensor
        for name, tensor in tensors.items()
    }
    save_file(renamed, copy / "model.safetensors")
    assert set(Checkpoint(copy).tensor_files) == set(Checkpoint(nano).tensor_files)


def test_shards_are_read_through_their_index(nano: Path, copy: Path) -> None:
    import torch

    shard(copy)
    checkpoint, whole = open_fully(copy), Checkpoint(nano)
    assert [file.name for file in checkpoint.weight_files] == list(SHARDS)
    assert set(checkpoint.tensor_files) == set(whole.tensor_files)
    for name in ("embed_tokens.weight", "norm.weight", "layers.5.mlp.up_proj.weight"):
        assert torch.equal(checkpoint.load_tensor(name), whole.load_tensor(name))


@pytest.mark.parametrize("missing", SHARDS)
def test_missing_shard_is_named(copy: Path, missing: str) -> None:
    shard(copy)
    (copy / missing).unlink()
    assert f"{missing} missing; download" in refusal(copy)


@pytest.mark.parametrize("index", ["{}", '{"weight_map": []}'])
def test_damaged_index_is_named(copy: Path, index: str) -> None:
    (copy / INDEX).write_text(index)
    assert INDEX in refusal(copy)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "preprocessor_config.json"])
def test_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    assert f"{name} missing" in refusal(copy)


def test_all_missing_files_are_named_at_once(copy: Path) -> None:
    (copy / "config.json").unlink()
    (copy / "tokenizer.json").unlink()
    assert "config.json, tokenizer.json missing" in refusal(copy)


def test_missing_weights(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    assert "*.safetensors missing" in refusal(copy)


def test_missing_chat_template(copy: Path) -> None:
    (copy / "chat_template.jinja").unlink()
    assert "no chat template" in refusal(copy)


@pytest.mark.parametrize("name", ["chat_template.json", "tokenizer_config.json"])
def test_chat_template_of_earlier_releases(copy: Path, name: str) -> None:
    (copy / "chat_template.jinja").unlink()
    (copy / name).write_text(json.dumps({"chat_template": "{{ messages }}"}))
    assert Checkpoint(copy).chat_template == "{{ messages }}"


def test_missing_stop_token(copy: Path) -> None:
    (copy / "generation_config.json").unlink()
    change_json(copy / "config.json", lambda fields: fields["text_config"].pop("eos_token_id"))
    assert "no eos_token_id" in refusal(copy)


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        ({"eos_token_id": [3, 4]}, (3, 4)),
        ({"eos_token_id": 0}, (0,)),
        ({"eos_token_id": None}, (2050,)),
        ({}, (2050,)),
        (None, (2050,)),
    ],
    ids=str,
)
def test_stop_tokens(
    copy: Path, generation: dict[str, Any] | None, expected: tuple[int, ...]
) -> None:
    (copy / "generation_config.json").unlink()
    if generation is not None:
        (copy / "generation_config.json").write_text(json.dumps(generation))
    assert Checkpoint(copy).stop_token_ids == expected


@pytest.mark.parametrize(
    "architectures", [["LlamaForCausalLM"], [], None, ["Qwen2VLForConditionalGeneration"]], ids=str
)
def test_other_architecture(copy: Path, architectures: list[str] | None) -> None:
    change_json(copy / "config.json", lambda fields: fields.update(architectures=architectures))
    message = refusal(copy)
    assert repr((architectures or ["none"])[0]) in message
    assert "this release reads Qwen2_5_VLForConditionalGeneration" in message


def test_configuration_without_vision(copy: Path) -> None:
    change_json(copy / "config.json", lambda fields: fields.pop("vision_config"))
    assert "vision_config" in refusal(copy)


@pytest.mark.parametrize(
    "keep",
    [lambda size: size - 1, lambda size: size // 2, lambda size: 100, lambda size: 4, lambda _: 0],
    ids=["last-byte", "half", "header", "length", "all"],
)
def test_truncated_weights(copy: Path, keep: Callable[[int], int]) -> None:
    cut_weights(copy, keep)
    assert "model.safetensors is damaged or truncated" in refusal(copy)


def test_page_saved_in_place_of_weights(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors").write_text("<html>404</html>")
    assert "model.safetensors is damaged" in refusal(copy)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"{} {}"], ids=repr)
def test_invalid_json(copy: Path, name: str, content: bytes) -> None:
    (copy / name).write_bytes(content)
    assert f"{name} is not valid JSON" in refusal(copy)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("content", ["[]", "null", "5"])
def test_json_that_is_not_an_object(copy: Path, name: str, content: str) -> None:
    (copy / name).write_text(content)
    assert f"{name} is not a JSON object" in refusal(copy)


def flatten(fields: dict[str, Any]) -> None:
    """The form before transformers 5; the vision part as sparse as the 3B checkpoint's."""
    fields.update(fields.pop("text_config"))
    fields["model_type"] = "qwen2_5_vl"
    fields["vision_config"] = {
        "hidden_size": 1280,
        "in_chans": 3,
        "model_type": "qwen2_5_vl",
        "out_hidden_size": 2048,
        "spatial_patch_size": 14,
        "tokens_per_second": 2,
    }


def test_flat_configuration_and_the_vision_defaults_of_the_3b(copy: Path) -> None:
    nested = Checkpoint(copy)
    change_json(copy / "config.json", flatten)
    flat = Checkpoint(copy)
    assert {name: flat.text[name] for name in nested.text if name != "model_type"} == {
        name: value for name, value in nested.text.items() if name != "model_type"
    }
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig

    theirs = Qwen2_5_VLVisionConfig(hidden_size=1280, out_hidden_size=2048)
    for name in ("depth", "intermediate_size", "num_heads", "window_size"):
        assert flat.vision[name] == getattr(theirs, name), name
    assert list(flat.vision["fullatt_block_indexes"]) == list(theirs.fullatt_block_indexes)
    assert (flat.vision["hidden_size"], flat.vision["out_hidden_size"]) == (1280, 2048)


def test_defaults_do_not_leak_between_checkpoints(nano: Path) -> None:
    assert Checkpoint(nano).vision["fullatt_block_indexes"] == [2, 5]


DIGESTED = (
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


@pytest.mark.parametrize("name", DIGESTED)
def test_digest_changes_with_every_file(copy: Path, name: str) -> None:
    before = Checkpoint(copy).digest()
    assert before == Checkpoint(copy).digest()
    content = bytearray((copy / name).read_bytes())
    content[-2:-2] = b" "
    (copy / name).unlink()
    (copy / name).write_bytes(content)
    assert Checkpoint(copy).digest() != before


def test_no_file_of_the_bundled_checkpoint_but_its_card_is_left_out(nano: Path) -> None:
    assert {file.name for file in nano.iterdir()} == {*DIGESTED, "README.md"}


def test_digest_depends_on_neither_folder_nor_other_files(nano: Path, copy: Path) -> None:
    (copy / "README.md").write_text("notes")
    assert Checkpoint(copy).digest() == Checkpoint(nano).digest()


def test_digest_covers_every_shard(copy: Path) -> None:
    shard(copy)
    before = Checkpoint(copy).digest()
    with (copy / SHARDS[1]).open("ab") as file:
        file.write(b" ")
    assert Checkpoint(copy).digest() != before


@pytest.mark.parametrize("name", ["mustermann", "./mustermann", "a/b/mustermann", "/mustermann/b"])
def test_what_is_neither_folder_nor_hub_id(name: str) -> None:
    with pytest.raises(CheckpointError, match="not a folder, and not of the form OWNER/NAME"):
        open_checkpoint(name)


def test_file_in_place_of_a_folder(nano: Path) -> None:
    with pytest.raises(CheckpointError, match="not a folder"):
        open_checkpoint(str(nano / "config.json"))


def test_hub_id_without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    # Read from HF_HUB_OFFLINE and HF_HUB_CACHE when the library is imported.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"owner/name cannot be downloaded .* local folder"):
        open_checkpoint("owner/name")


@pytest.mark.parametrize(
    "error", [OSError, ValueError, RuntimeError, TimeoutError, ConnectionError, EOFError]
)
def test_any_failure_of_a_download_is_a_checkpoint_error(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """The hub's HTTP client has changed between releases, and its errors with it."""
    import huggingface_hub

    def fail(*_: Any, **__: Any) -> str:
        raise error("/home/mustermann/.cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(CheckpointError, match=error.__name__) as caught:
        open_checkpoint("owner/name")
    assert "mustermann" not in caught.value.message
