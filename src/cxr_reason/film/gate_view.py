"""Is it a frontal film, by its header: codes first, then orientation and words."""

from __future__ import annotations

from typing import NamedTuple

from cxr_reason.errors import UnsupportedObjectError
from cxr_reason.film.gate_codes import judge_view_code
from cxr_reason.film.gate_words import DEFINED_VIEWS, View, judge_view
from cxr_reason.film.header import Header
from cxr_reason.film.header_text import read_charset, read_folded
from cxr_reason.film.orientation import read_directions

_VIEW_DESCRIPTIONS = ("SeriesDescription", "AcquisitionDeviceProcessingDescription")


class ViewCheck(NamedTuple):
    """Which view the header says.

    Attributes:
        view: "PA", "AP" or None.
        flags: `view_unknown` where the view is None, and `view_perhaps_lateral` where then a
            description of the series or of the processing names another view than a frontal one.
    """

    view: str | None
    flags: tuple[str, ...]


def check_view(header: Header) -> ViewCheck:
    """Check view codes, view position and orientation, and descriptions where those are silent.

    Raises:
        UnsupportedObjectError: A lateral, an oblique or another view that is not frontal.
    """
    charset = read_charset(header)
    texts = read_folded(header, "ViewPosition", charset)
    by_code = [_judge_view_item(item, charset) for item in header.items("ViewCodeSequence")]
    views = [*by_code, _judge_views(texts)]
    # Rows and columns of a frontal film run along left and right, head and foot, never along front
    # and back (PS3.3 C.7.6.1.1.1).
    runs_front_to_back = any(axis in ("A", "P") for axis in read_directions(header))
    if "not frontal" in views or runs_front_to_back:
        stated = texts[0] if texts and texts[0] in DEFINED_VIEWS else ""
        raise UnsupportedObjectError(
            f"DICOM: the header names a lateral or oblique view ({_source(stated, by_code)}); "
            "send the frontal (PA or AP) film"
        )
    named = [view for view in views if view in ("PA", "AP")]
    if named:
        return ViewCheck(named[0], ())
    flags: tuple[str, ...] = ("view_unknown",)
    # A series has several films and a processing is named after what it was made for, so they
    # refuse nothing.
    described = (_judge_views(read_folded(header, k, charset)) for k in _VIEW_DESCRIPTIONS)
    if "frontal" not in views and "not frontal" in described:
        flags += ("view_perhaps_lateral",)
    return ViewCheck(None, flags)


def _source(stated: str, by_code: list[View]) -> str:
    return stated or ("by code" if "not frontal" in by_code else "by word or orientation")


def _judge_views(texts: tuple[str, ...]) -> View:
    verdicts = [judge_view(text) for text in texts]
    return next((verdict for verdict in verdicts if verdict != "unknown"), "unknown")


def _judge_view_item(item: Header, charset: list[str]) -> View:
    by_code = judge_view_code(item)
    return (
        by_code if by_code != "unknown" else _judge_views(read_folded(item, "CodeMeaning", charset))
    )
