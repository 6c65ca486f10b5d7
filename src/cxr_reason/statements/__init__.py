"""Statement labeller: what a radiology text says about a film, by rules.

    find_statements("No effusion. Small left apical pneumothorax.")

Used by the audit of readings, by the rewards and by the data loaders, so that all of them read text
in the same way. Our own rules, no model and no dependency: `sentences` splits, `language` leaves
out what is not English, `finding_rules` names findings, `scope` decides what is negated and what is
hedged, `places` finds side and region, `labels` collects a report's labels.
"""

from cxr_reason.statements.finder import Statement, assess, find_statements
from cxr_reason.statements.labels import collect_labels, label_report
from cxr_reason.statements.scope import Polarity
from cxr_reason.statements.vocabulary import FINDINGS, NIH_LABELS, TO_CHEXPERT, TO_NIH, Taxonomy

__all__ = [
    "FINDINGS",
    "NIH_LABELS",
    "TO_CHEXPERT",
    "TO_NIH",
    "Polarity",
    "Statement",
    "Taxonomy",
    "assess",
    "collect_labels",
    "find_statements",
    "label_report",
]
