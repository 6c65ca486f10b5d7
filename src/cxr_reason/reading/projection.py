"""Which projection a reasoning names, to compare it with the film's own: AP or PA.

On an AP film the heart is magnified and free air or fluid looks different, so a reasoning that
takes a PA film for an AP one reasons about another film. Rules on words, as for statements. "AP" is
also a window and a diameter, "PA" an artery: alone they name a projection only beside a word for a
film or for how one is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cxr_reason.statements.language import english_sentences
from cxr_reason.statements.scope import assess_mentions

Projection = Literal["AP", "PA"]

_FILM = (
    r"(?:views?|projections?|projected|films?|radiographs?|radiography|images?|imaging|x[ -]?rays?"
    r"|cxr|chest|stud(?:y|ies)|exam(?:ination)?s?|techniques?|orientation|position(?:ing|ed)?"
    r"|acquisitions?|exposures?|portable|mobile|bedside|supine|upright|erect|sitting|seated"
    r"|semi[ -]?(?:erect|upright|recumbent)|frontal)"
)
# Between the name and its noun: "AP and lateral views", "AP single portable film".
_BETWEEN = (
    r"(?:[ -](?:and|or|versus|rather than|not|lateral|single|one|standard|digital|frontal"
    r"|\(?(?:AP|PA)\)?)){0,4}"
)
_BEFORE = (
    rf"(?:{_FILM}(?: is| was| are| were| appears| as| in|:| obtained(?: in)?| taken(?: in| as)?"
    r"| (?:appears )?to be)?|(?:this|it) is|(?:this|it) (?:looks like|appears to be))"
    r"(?: (?:an?|the|in|single|one|standard|likely|probably|clearly)){0,3}"
)
_NAMES: dict[Projection, tuple[str, str]] = {
    "AP": (r"antero[ -]?posterior(?:ly)?", r"A\.?P\.?"),
    "PA": (r"postero[ -]?anterior(?:ly)?", r"P\.?A\.?"),
}
# After these the name is of an organ, a measure or a gap.
_NOT_A_FILM = (
    r"(?!(?:[ -]\w{1,14})?[ -](?:windows?|diameters?|dimensions?|lengths?|size|axis|pressures?"
    r"|catheters?|arter(?:y|ies)|lines?|trunk|segments?|branch(?:es)?|plane|direction|stenosis"
    r"|hypertension)\b)"
)
_PROJECTION = re.compile(
    "|".join(
        rf"(?P<{name}>\b(?i:{word})\b{_NOT_A_FILM}"
        rf"|\b{short}(?!\w){_NOT_A_FILM}(?=\)?{_BETWEEN}[ -](?i:{_FILM})\b)"
        rf"|\b{short.lower()}(?!\w)(?=[ -](?i:views?|projections?|films?|radiographs?)\b)"
        rf"|(?i:\b{_BEFORE}) \(?(?P<{name}_core>{short})(?!\w){_NOT_A_FILM})"
        for name, (word, short) in _NAMES.items()
    )
)
# Of another film, one that is wished for, or of films in general.
_OTHER_FILM = re.compile(
    r"\b(?:recommend\w{0,6}|repeat\w{0,3}|prior|previous(?:ly)?|earlier|compar\w{0,6}|would|should"
    r"|follow[ -]?up|unlike|typical(?:ly)?|usual(?:ly)?|generally|if|whether|dedicated|advised?"
    r"|benefit|helpful|ideal(?:ly)?|warranted|needed|obtain|unclear|unknown|than on"
    r"|on an? (?:AP|PA|antero|postero))\b",
    re.IGNORECASE,
)


# "may be magnified by the AP projection" doubts the magnification.
_GIVEN = re.compile(
    r"\b(?:(?:due to|by|given|for|from|because of|secondary to|related to)(?: (?:the|this|an?))?"
    r"|(?:on|in|of|with) (?:the|this))"
    r"(?: (?:single|portable|supine|frontal|semi[ -]?erect)){0,2} \Z",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class NamedProjection:
    """One sentence of a reasoning that says how the film was taken.

    Attributes:
        projection: "AP" or "PA".
        start: First character of the sentence in the reading's `reasoning`.
        end: Index just after its last character.
    """

    projection: Projection
    start: int
    end: int


def find_projections(reasoning: str) -> Iterator[NamedProjection]:
    """Yield the English sentences that name one projection of this film.

    Left out are names that are denied or doubted, sentences that leave both open, questions, and
    sentences on another film ("compared with the prior PA film").
    """
    for start, end in english_sentences(reasoning):
        sentence = " ".join(reasoning[start:end].split())
        if sentence.endswith("?") or _OTHER_FILM.search(sentence):
            continue
        names = [_read(match) for match in _PROJECTION.finditer(sentence)]
        statuses = assess_mentions(sentence, [span for _, span in names])
        stated = {
            name
            for (name, place), status in zip(names, statuses, strict=True)
            if status == "present"
            or (status == "uncertain" and _GIVEN.search(sentence[: place[0]]))
        }
        if len(stated) == 1:
            yield NamedProjection(stated.pop(), start, end)


def find_other_projection(reasoning: str, view: str | None) -> NamedProjection | None:
    """Return the first sentence that names another projection than the film's own.

    Args:
        reasoning: Text of the thinking.
        view: `FilmInfo.view`; where it is not "AP" or "PA" there is nothing to compare with.
    """
    if view not in ("AP", "PA"):
        return None
    return next((one for one in find_projections(reasoning) if one.projection != view), None)


def _read(match: re.Match[str]) -> tuple[Projection, tuple[int, int]]:
    name: Projection = "AP" if match["AP"] else "PA"
    core = match.span(f"{name}_core")
    return name, core if core[0] >= 0 else match.span()
