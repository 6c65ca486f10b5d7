"""Messages → token ids: chat template, tokenizer, and one image token for each visual token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from cxr_reason.engine.artifact import CHAT_TEMPLATE, TOKENIZER
from cxr_reason.errors import BadRequestError
from cxr_reason.prompts import Message, template_messages

ANSWER_START = "<|im_start|>assistant\n"  # Qwen2.5's template


def check_length(num_tokens: int, context_length: int) -> None:
    """Check that a prompt, its film included, leaves room for an answer.

    Raises:
        BadRequestError: The prompt does not fit.
    """
    if num_tokens >= context_length:
        raise BadRequestError(
            f"prompt: {num_tokens} tokens with the film; this engine has room for "
            f"{context_length} with the answer: shorten the conversation",
            param="prompt",
        )


class PromptEncoder:
    """Tokenizer and chat template of one artifact.

    Attributes:
        tokenizer: The tokenizer, for decoding too.
        answer_start: The tokens that start an answer of the assistant, int64 `[n]`.
    """

    def __init__(self, folder: Path, *, image_token_id: int) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._image_token_id = image_token_id
        self._special_tokens = [
            token.content
            for token in self.tokenizer.get_added_tokens_decoder().values()
            if token.special
        ]
        # The settings with which transformers renders chat templates.
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        template = (folder / CHAT_TEMPLATE).read_text(encoding="utf-8")
        self._template = environment.from_string(template)
        self.answer_start = self._tokenize(ANSWER_START)

    def encode(
        self, messages: tuple[Message, ...], *, num_visual_tokens: int
    ) -> npt.NDArray[np.int64]:
        """Encode a conversation up to the start of the assistant's answer.

        Args:
            messages: The conversation.
            num_visual_tokens: Visual tokens of the film; 0 without one.

        Returns:
            Token ids, int64 `[T]`.

        Raises:
            BadRequestError: A message spells a special token: it could end its turn, or stand for
                a film that is not there.
        """
        for message in messages:
            if any(token in message.text for token in self._special_tokens):
                raise BadRequestError(
                    "prompt: holds a special token of the model, such as <|im_end|>; remove it",
                    param="prompt",
                )
        text = self._template.render(
            messages=template_messages(messages, with_film=num_visual_tokens > 0),
            add_generation_prompt=True,
        )
        ids = self._tokenize(text)
        copies = np.where(ids == self._image_token_id, num_visual_tokens, 1)
        return np.repeat(ids, copies)

    def _tokenize(self, text: str) -> npt.NDArray[np.int64]:
        return np.array(self.tokenizer.encode(text, add_special_tokens=False).ids, np.int64)
