"""For mkdocs: links from a page to files outside docs/ lead to the repository."""

from __future__ import annotations

import re
from typing import Any

_OUTSIDE = re.compile(r"\]\(\.\./(?P<path>[^)]+)\)")


def on_page_markdown(markdown: str, *, config: Any, **_: Any) -> str:
    """Return a page with such links replaced, so that they work on GitHub and on the site."""
    return _OUTSIDE.sub(rf"]({config.repo_url}/blob/main/\g<path>)", markdown)
