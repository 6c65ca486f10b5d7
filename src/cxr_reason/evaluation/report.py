"""An evaluation as one self-contained HTML file."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cxr_reason.evaluation import plots
from cxr_reason.evaluation.evaluate import Evaluation
from cxr_reason.evaluation.faithfulness import CONDITIONS
from cxr_reason.evaluation.result_line import describe_machine
from cxr_reason.evaluation.summary import format_estimate, list_faithfulness, list_totals
from cxr_reason.reading.reading import DISCLAIMER

_TEMPLATE = "report.html.jinja"


def write_report(path: Path, evaluation: Evaluation, origin: Mapping[str, Any]) -> None:
    """Write the report.

    Args:
        path: The file; replaced if it is there.
        evaluation: What was measured.
        origin: "model", "data", "settings" and "command".
    """
    environment = Environment(
        loader=PackageLoader("cxr_reason.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["estimate"] = format_estimate
    part = evaluation.faithfulness
    page = environment.get_template(_TEMPLATE).render(
        evaluation=evaluation,
        faithfulness=part,
        conditions=CONDITIONS,
        totals=list_totals(evaluation),
        changes=list_faithfulness(evaluation),
        disclaimer=DISCLAIMER,
        origin=[
            *((name.replace("_", " "), value) for name, value in origin["model"].items() if value),
            ("data", origin["data"]),
            *((name.replace("_", " "), value) for name, value in origin["settings"].items()),
            ("machine", describe_machine()),
            ("command", origin["command"]),
        ],
        data=origin["data"],
        f1=_embed(plots.plot_f1(evaluation)),
        roc=_embed(plots.plot_roc(evaluation)),
        reliability=_embed(plots.plot_reliability(evaluation)),
        groups=_embed(plots.plot_groups(evaluation)) if evaluation.groups else "",
        changed=_embed(plots.plot_faithfulness(part)) if part is not None else "",
    )
    path.write_text(page, encoding="utf-8")


def _embed(svg: str) -> str:
    """Return a `data:` URL: names inside one picture do not meet those of another."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
