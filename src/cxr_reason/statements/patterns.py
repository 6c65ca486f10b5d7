"""How the rules of this package are written, so that matching them takes bounded work.

A rule is a regular expression in which a space stands for white space or a hyphen, ` ?` for the
same or nothing, and `…` for a short gap inside one clause. No repetition is unbounded, so one
attempt to match costs at most a constant and a whole text costs time in proportion to its length;
`rule_source` refuses others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_SPACE = r"[\s\-]{1,8}"
_OPTIONAL_SPACE = r"[\s\-]{0,8}"
_GAP = r"[^.;!?]{0,40}?"
# An escaped character, a class, or what repeats without a bound.
_PARTS = re.compile(r"\\.|\[(?:\\.|[^\]\\])+\]|(?P<unbounded>[*+]|\{\d+,\})")


def is_unbounded(source: str) -> bool:
    """Whether an expression repeats something without an upper bound."""
    return any(part["unbounded"] for part in _PARTS.finditer(source))


def rule_source(alternatives: Iterable[str]) -> str:
    """Return one expression for alternatives, as whole words; the first that matches wins.

    Raises:
        ValueError: A repetition has no upper bound.
    """
    source = "|".join(alternatives)
    if is_unbounded(source):
        raise ValueError(f"unbounded repetition in {source!r}: write {{0,n}}")
    source = source.replace(" ?", _OPTIONAL_SPACE).replace(" ", _SPACE).replace("…", _GAP)
    return rf"(?<!\w)(?:{source})(?!\w)"


def compile_rule(*alternatives: str) -> re.Pattern[str]:
    """Compile `rule_source` of the alternatives, for any case."""
    return re.compile(rule_source(alternatives), re.IGNORECASE)
