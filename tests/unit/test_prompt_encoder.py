"""Messages → token ids, against transformers' own rendering of the same checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxr_reason.engine.artifact import CHAT_TEMPLATE, TOKENIZER
from cxr_reason.engine.prompt_encoder import PromptEncoder
from cxr_reason.errors import BadRequestError
from cxr_reason.prompts import FIND_ABNORMALITIES, IMAGE_PAD, Message, template_messages

# The template of Qwen2.5-VL checkpoints, Qwen/Qwen2.5-VL-3B-Instruct `chat_template.json`
# (Apache-2.0), as transformers writes it into `chat_template.jinja`.
QWEN_TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}"
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
    "{{ message['content'] }}<|im_end|>\n{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "{% set image_count.value = image_count.value + 1 %}{% if add_vision_id %}"
    "Picture {{ image_count.value }}: {% endif %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

CONVERSATIONS = {
    "canonical": (Message("user", FIND_ABNORMALITIES),),
    "system": (Message("system", "Be brief."), Message("user", "Any effusion?")),
    "follow-up": (
        Message("user", FIND_ABNORMALITIES),
        Message("assistant", "<think>\nClear.\n</think>\n<answer>No Finding</answer>"),
        Message("user", "Are you sure?\n\n  Look at the left base. "),
    ),
    "empty": (Message("user", ""),),
    "characters": (Message("user", "  Größe ≥ 5 mm? 肺水肿\t\U0001fa7b \r\n{{ x }} {% raw %}"),),
    "near-special": (Message("user", "<|im_end> <im_start|> <think> | im_end |"),),
}


@pytest.fixture(scope="module")
def checkpoint(repository: Path) -> Path:
    return repository / "checkpoints" / "nano"


@pytest.fixture(scope="module")
def tokenizer(checkpoint: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(checkpoint)


@pytest.fixture(scope="module", params=["nano", "qwen"])
def template(request: pytest.FixtureRequest, checkpoint: Path) -> str:
    if request.param == "qwen":
        return QWEN_TEMPLATE
    return (checkpoint / CHAT_TEMPLATE).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def encoder(
    template: str, checkpoint: Path, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> PromptEncoder:
    folder = tmp_path_factory.mktemp("artifact")
    shutil.copy(checkpoint / TOKENIZER, folder)
    (folder / CHAT_TEMPLATE).write_text(template, encoding="utf-8")
    return PromptEncoder(folder, image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_PAD))


def ids_of_transformers(
    tokenizer: Any, template: str, messages: tuple[Message, ...], *, with_film: bool
) -> list[int]:
    ids = tokenizer.apply_chat_template(
        template_messages(messages, with_film=with_film),
        chat_template=template,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
    )
    return list(ids)


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_ids_are_those_of_transformers(
    encoder: PromptEncoder, tokenizer: Any, template: str, messages: tuple[Message, ...]
) -> None:
    ids = encoder.encode(messages, num_visual_tokens=0)
    assert ids.dtype == np.int64 and ids.ndim == 1
    expected = ids_of_transformers(tokenizer, template, messages, with_film=False)
    assert ids.tolist() == expected


@pytest.mark.parametrize("count", [1, 16, 289])
@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_film_is_one_token_repeated_in_its_place(
    encoder: PromptEncoder,
    tokenizer: Any,
    template: str,
    messages: tuple[Message, ...],
    count: int,
) -> None:
    image = tokenizer.convert_tokens_to_ids(IMAGE_PAD)
    one = ids_of_transformers(tokenizer, template, messages, with_film=True)
    assert one.count(image) == 1
    place = one.index(image)
    expected = one[:place] + [image] * count + one[place + 1 :]
    assert encoder.encode(messages, num_visual_tokens=count).tolist() == expected


def test_film_stands_between_its_marks(encoder: PromptEncoder, tokenizer: Any) -> None:
    ids = encoder.encode((Message("user", "a"),), num_visual_tokens=3).tolist()
    names = tokenizer.convert_ids_to_tokens(ids)
    place = names.index(IMAGE_PAD)
    assert names[place - 1 : place + 4] == ["<|vision_start|>", *[IMAGE_PAD] * 3, "<|vision_end|>"]


def special_tokens(checkpoint: Path) -> list[str]:
    from tokenizers import Tokenizer

    added = Tokenizer.from_file(str(checkpoint / TOKENIZER)).get_added_tokens_decoder()
    return [token.content for token in added.values() if token.special]


def test_special_tokens_are_known(checkpoint: Path) -> None:
    expected = {"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|vision_start|>", IMAGE_PAD}
    assert expected <= set(special_tokens(checkpoint))


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_special_tokens_in_a_message_are_refused(
    encoder: PromptEncoder, checkpoint: Path, role: str
) -> None:
    for token in special_tokens(checkpoint):
        messages = (Message(role, f"please{token}\n"), Message("user", "a"))
        for count in (0, 4):
            with pytest.raises(BadRequestError, match="special token"):
                encoder.encode(messages, num_visual_tokens=count)


def test_halves_of_a_special_token_do_not_join(encoder: PromptEncoder, tokenizer: Any) -> None:
    """Cut at every place, in two neighbouring turns: no turn ends early, no film appears."""
    image, end = tokenizer.convert_tokens_to_ids([IMAGE_PAD, "<|im_end|>"])
    for token in (IMAGE_PAD, "<|im_end|>"):
        for cut in range(1, len(token)):
            messages = (Message("user", token[:cut]), Message("user", token[cut:]))
            ids = encoder.encode(messages, num_visual_tokens=0).tolist()
            assert ids.count(image) == 0
            assert ids.count(end) == 3  # the system turn and these two


def test_ids_decode_to_what_was_rendered(
    encoder: PromptEncoder, tokenizer: Any, template: str
) -> None:
    messages = CONVERSATIONS["follow-up"]
    rendered = tokenizer.apply_chat_template(
        template_messages(messages, with_film=True),
        chat_template=template,
        add_generation_prompt=True,
        tokenize=False,
    )
    ids = encoder.encode(messages, num_visual_tokens=1).tolist()
    assert encoder.tokenizer.decode(ids, skip_special_tokens=False) == rendered


def test_template_cannot_reach_python(checkpoint: Path, tmp_path: Path) -> None:
    """A template comes with a checkpoint, so it is not trusted."""
    from jinja2.exceptions import SecurityError

    shutil.copy(checkpoint / TOKENIZER, tmp_path)
    (tmp_path / CHAT_TEMPLATE).write_text(
        "{{ messages.__class__.__mro__[1].__subclasses__() }}", encoding="utf-8"
    )
    with pytest.raises(SecurityError):
        PromptEncoder(tmp_path, image_token_id=0).encode(
            (Message("user", "a"),), num_visual_tokens=0
        )
