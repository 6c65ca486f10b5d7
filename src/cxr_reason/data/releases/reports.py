"""Sections of a radiology report."""

from __future__ import annotations

import re
from collections.abc import Iterable

# A line that begins with capitals and a colon, as in "FINDINGS:" or "PROVISIONAL FINDINGS IMPR:".
_HEADING = re.compile(r"^[ \t]*(?P<name>[A-Z][A-Z ,/()&-]{2,60}):", re.MULTILINE)


def read_sections(text: str) -> str | None:
    """Return findings and impression of a free-text report, without their headings.

    What comes before them (indication, comparison, technique) does not describe the film, nor does
    what follows under another heading (notification, recommendation).

    Args:
        text: A report with headings in capitals, as in MIMIC-CXR (Johnson et al. 2019).

    Returns:
        The sections in their order, or None where the report has neither.
    """
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    # Without any heading there is one end too many.
    return join_sections(
        text[heading.end() : end]
        for heading, end in zip(headings, ends, strict=False)
        if "FINDINGS" in heading["name"] or "IMPRESSION" in heading["name"]
    )


def join_sections(sections: Iterable[str]) -> str | None:
    """Return sections on lines of their own, white space made single; None where all are empty."""
    kept = [" ".join(section.split()) for section in sections]
    return "\n".join(section for section in kept if section) or None
