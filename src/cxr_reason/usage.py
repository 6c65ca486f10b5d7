"""What one request cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """Tokens and times of one request.

    Attributes:
        prompt_tokens: Tokens of the prompt, visual tokens included.
        visual_tokens: Of these, tokens of the film.
        completion_tokens: Generated tokens.
        queue_s: Seconds from the request to the start of prefill.
        time_to_first_token_s: Seconds from the request to the first token.
        generation_s: Seconds from the request to the last token.
    """

    prompt_tokens: int
    visual_tokens: int
    completion_tokens: int
    queue_s: float
    time_to_first_token_s: float
    generation_s: float
