"""Text → sentences with their place, and the sections of a report that describe this film."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Sections about the patient, the technique or another film. A report's findings and
# impression describe this one; so does text before any heading.
_HEADING = re.compile(
    r"(?:^|(?<=\n)|(?<=[.:]\s)|(?<=[.:]\s\s))[ \t]{0,8}(?P<name>"
    r"(?:clinical |patient )?(?:indications?|history|information)"
    r"|reason for (?:this |the )?(?:exam(?:ination)?|study)|comparisons?|techniques?|procedure"
    r"|findings?(?: and impression)?|impressions?|conclusions?|opinion|summary|report"
    r")[ \t]{0,4}:",
    re.IGNORECASE,
)
_DESCRIBES_FILM = re.compile(r"finding|impression|conclusion|opinion|summary|report", re.IGNORECASE)

# A full stop after these does not end a sentence.
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:dr|mr|mrs|ms|st|vs|e\.g|i\.e|etc|approx|no|fig|ca|cf|[a-z])\Z", re.IGNORECASE
)
_LONGEST_ABBREVIATION = 8
# A new line belongs to the sentence before it when the text is hard-wrapped: the line was full.
_FULL_LINE = 55
_LIST_MARK = re.compile(r"\s{0,8}(?:[-*•]|\(?\d{1,2}[.)])\s")
# The marks of other scripts too: what they end is left out by itself (`language`).
MARKS = ".!?\u3002\uff0e\uff01\uff1f\u061f\u0964"
_CANDIDATE = re.compile(rf"[{MARKS}\n]")


def split_sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each sentence, without the white space around it.

    Not an end: the stop of an abbreviation, of a decimal or of a list number, and a line break
    inside wrapped text. De-identified words (`XXXX`) are words like others.
    """
    start = 0
    line_start = 0
    for match in _CANDIDATE.finditer(text):
        end = match.end()
        if match[0] == "\n":
            ends = _ends_at_line_break(text, line_start, match.start(), end)
            line_start = end
        else:
            ends = _ends_at_stop(text, start, match.start(), match[0])
        if ends:
            yield from _trim(text, start, end)
            start = end
    yield from _trim(text, start, len(text))


def film_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of the parts of a text that describe the film."""
    start, described = 0, True
    for match in _HEADING.finditer(text):
        if described:
            yield start, match.start()
        start, described = match.end(), bool(_DESCRIBES_FILM.search(match["name"]))
    if described:
        yield start, len(text)


def film_sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each sentence in the parts of a text that describe the film."""
    for part_start, part_end in film_spans(text):
        for start, end in split_sentences(text[part_start:part_end]):
            yield part_start + start, part_start + end


def _ends_at_stop(text: str, start: int, stop: int, mark: str) -> bool:
    following = text[stop + 1 : stop + 2]
    if mark != ".":
        return True
    # "1.5" and "i.e." do not end a sentence; "apex.There", without a space, does.
    if not (following.isspace() or following.isupper() or following in "\"')"):
        return False
    before = text[max(start, stop - _LONGEST_ABBREVIATION) : stop]
    if _ABBREVIATION.search(before):
        return False
    # A list number is the beginning of the sentence that it counts.
    return not (len(before) < _LONGEST_ABBREVIATION and before.strip(" \t\n(").isdigit())


def _ends_at_line_break(text: str, line_start: int, line_end: int, next_start: int) -> bool:
    following = text[next_start : next_start + 16]
    if not following.strip(" \t\r") or following.lstrip(" \t\r").startswith("\n"):
        return True
    if _LIST_MARK.match(following):
        return True
    is_short = line_end - line_start < _FULL_LINE
    return is_short and following.lstrip()[:1].isupper()


def _trim(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end
