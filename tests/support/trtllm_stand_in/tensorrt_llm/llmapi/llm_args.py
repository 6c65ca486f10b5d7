"""Configurations of `LLM`."""

from tensorrt_llm.arguments import Arguments


class KvCacheConfig(Arguments):
    """See `signatures.json`."""


class CudaGraphConfig(Arguments):
    """See `signatures.json`."""


class LoraConfig(Arguments):
    """See `signatures.json`."""
