"""The documentation: links lead to files, and every page is in the site's menu."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\((?!https?://|mailto:)(?P<path>[^)#\s]*)(?:#[^)]*)?\)")
CODE = re.compile(r"```.*?```", re.DOTALL)


def pages() -> Iterator[Path]:
    """Yield the pages that people read."""
    yield from REPOSITORY.glob("*.md")
    for folder in ("docs", "examples", "training", "checkpoints"):
        yield from (REPOSITORY / folder).rglob("*.md")


def test_every_link_leads_to_a_file() -> None:
    broken = [
        f"{page.relative_to(REPOSITORY)}: {match['path']}"
        for page in pages()
        for match in LINK.finditer(CODE.sub("", page.read_text(encoding="utf-8")))
        if not (page.parent / match["path"]).exists()
    ]
    assert broken == []


def test_every_page_is_in_the_menu() -> None:
    menu = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    named = set(re.findall(r"- (\S+\.md)$", menu, re.MULTILINE))
    assert named == {path.name for path in (REPOSITORY / "docs").glob("*.md")}


def test_what_is_named_by_its_module_exists() -> None:
    missing = [
        f"{page.relative_to(REPOSITORY)}: {name}"
        for page in pages()
        for name in re.findall(r"`(cxr_reason(?:\.\w+)+)", page.read_text(encoding="utf-8"))
        if not is_defined(name)
    ]
    assert missing == []


def is_defined(name: str) -> bool:
    """Return whether a dotted name is a module, or is defined in the module that holds it."""
    folder = REPOSITORY / "src"
    parts = name.split(".")
    for index, part in enumerate(parts):
        module = folder / f"{part}.py"
        if (folder / part).is_dir():
            folder /= part
            continue
        source = module if module.is_file() else folder / "__init__.py"
        rest = parts[index + 1 :] if module.is_file() else parts[index:]
        text = source.read_text(encoding="utf-8")
        # As a function, a class, a variable or field, or in `__all__`.
        forms = r"(?:def|class) {0}\b|^ *{0}\b *[:=]|\"{0}\""
        return all(re.search(forms.format(word), text, re.MULTILINE) for word in rest)
    return True


def test_names_that_moved_are_noticed() -> None:
    assert is_defined("cxr_reason.reading.reading.Reading")
    assert not is_defined("cxr_reason.training.phantoms")
