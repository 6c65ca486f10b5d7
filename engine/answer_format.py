"""The allowed answers after the reasoning, for the grammars of every backend."""

from __future__ import annotations

import json

from cxr_reason.findings import LABELS

REASONING_END = "</think>"
ANSWER_START = "\n<answer> "
ANSWER_END = " </answer>"
LABEL_CHOICE = " | ".join(json.dumps(label) for label in LABELS)  # of a grammar: quoted words
