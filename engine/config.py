"""How an engine runs on this machine (what it is, is in the artifact's manifest)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from cxr_reason.errors import BadRequestError


@dataclass(frozen=True)
class EngineConfig:
    """Settings of a running engine.

    Attributes:
        max_batch: Requests that decode together; each holds one KV cache slot.
        max_queue: Requests that may wait for a slot; one more is answered "busy".
        context_length: Tokens of prompt and answer together; 0 takes the artifact's limit.
        prefill_chunk: Prompt tokens processed between two decoding steps of the others.
        prefix_cache_mib: Memory for keys and values of prompts that may come again.
        num_threads: Threads of the model's operators; 0 takes all physical cores.

    Raises:
        BadRequestError: A value outside its range.
    """

    max_batch: int = 8
    max_queue: int = 64
    context_length: int = 0
    prefill_chunk: int = 128
    prefix_cache_mib: int = 256
    num_threads: int = 0

    def __post_init__(self) -> None:
        lowest = {"max_batch": 1, "prefill_chunk": 16}
        for field in fields(self):
            value = getattr(self, field.name)
            least = lowest.get(field.name, 0)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise BadRequestError(
                    f"engine config: {field.name} is {value!r}; must be a whole number, "
                    f"at least {least}"
                )

    def limit_context(self, most: int) -> int:
        """Return the tokens of prompt and answer together, where the artifact has `most`."""
        return min(self.context_length or most, most)

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> EngineConfig:
        """Inverse of `to_json`; keys may be left out.

        Raises:
            BadRequestError: Not a JSON object, an unknown key, or a value outside its range.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise BadRequestError("engine config: not a JSON object") from error
        if not isinstance(values, dict):
            raise BadRequestError("engine config: not a JSON object")
        if unknown := set(values) - {field.name for field in fields(cls)}:
            allowed = ", ".join(field.name for field in fields(cls))
            raise BadRequestError(
                f"engine config: unknown key {sorted(unknown)[0]!r}; allowed: {allowed}"
            )
        return cls(**values)
