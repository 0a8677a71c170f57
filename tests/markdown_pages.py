"""Code and links of Markdown pages, as GitHub reads them."""

from __future__ import annotations

import re
from pathlib import Path


def code_blocks(page: Path, language: str) -> list[str]:
    """Return what is fenced on `page` as `language`."""
    blocks = rf"^```{language}\n(.*?)^```$"
    return re.findall(blocks, page.read_text(), flags=re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[str]:
    """Return the targets on `page` that are no addresses."""
    targets = re.findall(r"\]\(([^)\s]+)\)", _without_code(page))
    return [target for target in targets if not re.match(r"\w+:", target)]


def anchors(page: Path) -> set[str]:
    """Return the fragments that lead to the headings of `page`."""
    titles = re.findall(r"^#+ (.*)$", _without_code(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _without_code(page: Path) -> str:
    code = r"^ *```.*?^ *```$|`[^`\n]*`"
    return re.sub(code, "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
