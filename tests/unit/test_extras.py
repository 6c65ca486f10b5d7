from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

from cxr_reason.errors import MissingExtraError
from cxr_reason.extras import MODULES, find_missing, require

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Needed by a library, or at run time by name alone: never imported by a command.
NOT_LISTED = {"numpy", "tomli"}


def distributions(repository: Path, extra: str) -> set[str]:
    """Return the names of the distributions of an extra, those of extras inside it too."""
    table = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    found = set()
    for line in table["project"]["optional-dependencies"][extra]:
        if inner := re.match(r"cxr-reason\[(.*)\]", line):
            for name in inner[1].split(","):
                found |= distributions(repository, name)
        else:
            found.add(normalise(re.split(r"[<>=;\[ ]", line)[0]))
    return found


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("extra", MODULES)
def test_modules_are_those_of_the_metadata(repository: Path, extra: str) -> None:
    homes = importlib.metadata.packages_distributions()
    listed = {normalise(home) for module in MODULES[extra] for home in homes[module]}
    wanted = distributions(repository, extra) - NOT_LISTED
    assert wanted <= listed
    assert len(MODULES[extra]) == len(set(MODULES[extra])) == len(wanted)


def test_what_is_missing_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require("engine", "gateway", what="a test")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert find_missing("engine") == ()
    assert find_missing("gateway") == ("uvicorn",)
    with pytest.raises(MissingExtraError) as caught:
        require("engine", "gateway", what="a test")
    assert caught.value.message.startswith("a test: not installed: uvicorn;")
    assert caught.value.message.endswith("--editable '.[gateway]'")
