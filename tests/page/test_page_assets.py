"""The built page that goes into the wheel."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from cxr_reason.findings import LABELS
from cxr_reason.reading.reading import DISCLAIMER

PAGE = Path(__file__).parents[2] / "src" / "cxr_reason" / "gateway" / "page"
MAX_ASSETS_BYTES = 2**18


def test_the_built_assets_follow_from_the_sources(repository: Path) -> None:
    """As `page/build` computes it, so that a forgotten build shows without Node."""
    source = repository / "page"
    names = ["index.html", "package.json", "package-lock.json", "vite.config.ts"]
    found = [source / name for name in names]
    found += (source / "src").rglob("*")
    paths = sorted(path.relative_to(source).as_posix() for path in found if path.is_file())
    digests = [hashlib.sha256((source / path).read_bytes()).hexdigest() for path in paths]
    lines = "".join(f"{one}  {path}\n" for one, path in zip(digests, paths, strict=True))
    expected = (PAGE / "sources.sha256").read_text().strip()
    assert hashlib.sha256(lines.encode()).hexdigest() == expected, "run page/build"


def test_the_built_page_needs_nothing_from_elsewhere() -> None:
    index = (PAGE / "index.html").read_text()
    for name in re.findall(r'(?:src|href)="([^"]*)"', index):
        assert name.startswith("./assets/")
        assert (PAGE / name).is_file()
    assert "default-src 'none'" in index
    assert sum(path.stat().st_size for path in PAGE.rglob("*")) < MAX_ASSETS_BYTES
    assert "unsafe" not in index
    assert "preact" in (PAGE / "LICENCES.txt").read_text()


def test_the_labels_are_those_of_the_package(repository: Path) -> None:
    source = (repository / "page" / "src" / "reading.ts").read_text()
    block = re.search(r"LABELS = \[(.*?)\]", source, re.DOTALL)
    assert block is not None
    assert tuple(re.findall(r'"(.*?)"', block[1])) == LABELS
    assert f'DISCLAIMER = "{DISCLAIMER}"' in source
