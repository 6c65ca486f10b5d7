"""Reasoning traces for training: written by rules or by a language model, checked before use.

    facts = facts_of_phantom(make_phantom(7))
    text = write_trace(facts, seed=7)

`facts` holds what a source states, `writer` puts it into words by rules, `check` refuses what the
source does not support.
"""

from cxr_reason.training.traces.check import TraceError, check_trace
from cxr_reason.training.traces.facts import (
    Facts,
    Sign,
    facts_of_example,
    facts_of_phantom,
    facts_of_report,
    gold_answer,
)
from cxr_reason.training.traces.writer import write_trace

__all__ = [
    "Facts",
    "Sign",
    "TraceError",
    "check_trace",
    "facts_of_example",
    "facts_of_phantom",
    "facts_of_report",
    "gold_answer",
    "write_trace",
]
