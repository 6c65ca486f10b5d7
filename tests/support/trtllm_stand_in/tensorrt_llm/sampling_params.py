"""Sampling parameters."""

from .arguments import Arguments


class SamplingParams(Arguments):
    """See `signatures.json`."""


class GuidedDecodingParams(Arguments):
    """See `signatures.json`."""
