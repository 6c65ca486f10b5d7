"""Statements of one report → its labels."""

from __future__ import annotations

from collections.abc import Iterable

from cxr_reason.findings import NO_FINDING
from cxr_reason.statements.finder import Statement, find_statements
from cxr_reason.statements.scope import Polarity
from cxr_reason.statements.vocabulary import TAXONOMIES, Taxonomy

_STRENGTH: dict[Polarity, int] = {"absent": 0, "uncertain": 1, "present": 2}
_OPPOSITE: dict[Polarity, Polarity] = {
    "present": "absent",
    "uncertain": "uncertain",
    "absent": "present",
}


def label_report(text: str, taxonomy: Taxonomy) -> dict[str, Polarity]:
    """Return what a report says about each label that it mentions.

    Where statements differ, present wins over uncertain and uncertain over absent: a finding on
    one side only is present. A label that no statement mentions is not in the result: it is
    unknown. See `collect_labels` for No Finding.
    """
    return collect_labels(find_statements(text), taxonomy)


def collect_labels(statements: Iterable[Statement], taxonomy: Taxonomy) -> dict[str, Polarity]:
    """Collect statements into labels, in the order of the taxonomy.

    No Finding follows from the rest: the opposite of the strongest statement about anything else,
    or, where nothing is stated, unknown. As in CheXpert, a support device alone leaves No Finding
    present there, and an abnormality without a label of its own does not. In NIH ChestX-ray14
    only the fourteen labels count.
    """
    order, names = TAXONOMIES[taxonomy]
    found: dict[str, Polarity] = {}
    strongest: Polarity | None = None
    for statement in statements:
        polarity = statement.polarity
        label = names.get(statement.finding)
        if label not in (None, NO_FINDING):
            found[label] = _stronger(found.get(label), polarity)
        counts = label not in (None, NO_FINDING, "Support Devices") or taxonomy == "chexpert"
        if not counts or statement.finding in (NO_FINDING, "Support Devices"):
            polarity = "absent"
        strongest = _stronger(strongest, polarity)
    if strongest is not None:
        found[NO_FINDING] = _OPPOSITE[strongest]
    return {label: found[label] for label in order if label in found}


def _stronger(one: Polarity | None, other: Polarity) -> Polarity:
    return other if one is None or _STRENGTH[other] > _STRENGTH[one] else one
