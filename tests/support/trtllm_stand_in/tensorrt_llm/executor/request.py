"""Requests."""

from tensorrt_llm.arguments import Arguments


class LoRARequest(Arguments):
    """See `signatures.json`."""
