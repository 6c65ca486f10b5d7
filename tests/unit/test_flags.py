"""Every flag is declared, shown on the page and documented; nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

from cxr_reason.film.flags import FLAGS

# Put together from the name of a table and what is wrong with it (`film/lut.py`).
COMPOSED = re.compile(r"(voi|modality)_lut_(ignored|rescaled|truncated)")


def test_every_flag_is_set_somewhere(repository: Path) -> None:
    sources = [*(repository / "src/cxr_reason/film").glob("*.py")]
    sources += (repository / "src/cxr_reason/reader").glob("*.py")
    code = "\n".join(
        path.read_text(encoding="utf-8") for path in sources if path.name != "flags.py"
    )
    unused = {flag for flag in FLAGS if f'"{flag}"' not in code and not COMPOSED.fullmatch(flag)}
    assert not unused


def test_the_page_says_the_same(repository: Path) -> None:
    text = (repository / "page/src/notices.ts").read_text(encoding="utf-8")
    table = text.partition("const FLAGS")[2].partition("};")[0]
    assert dict(re.findall(r'(\w+):\s+"([^"]+)"', table)) == FLAGS


def test_the_documentation_lists_them(repository: Path) -> None:
    text = (repository / "docs/films.md").read_text(encoding="utf-8")
    assert {flag for flag in FLAGS if f"`{flag}`" not in text} == set()
