"""Write the figures of README.md and docs from what was measured: `python benchmarks/publish.py`.

What was measured is kept in ``docs/results``: JSON of ``pytest benchmarks`` (in the folder
``default-allocator``, with glibc's allocator as it is) and CSV of ``stc-ops bench models``. Text
between ``<!-- NAME: benchmarks/publish.py -->`` and ``<!-- end -->`` is replaced; where nothing was
measured for it, it stays.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import report
from published import readme_blocks
from report_tables import markdown
from results import operator_groups, read_results
from stored_models import draw_models, read_models

from stc_ops.cli.errors import CommandError
from stc_ops.cli.main import main as stc_ops_command
from stc_ops.cli.output_file import whole_file

ROOT = Path(__file__).parents[1]
RESULTS = Path("docs", "results")
BLOCK = "<!-- {name}: benchmarks/publish.py -->\n"
END = "<!-- end -->"
WITHOUT_TUNABLES = (
    "Here large tensors that were freed go back to the kernel, and a new one costs a page fault "
    "per page: what a process that sets nothing sees. These faults come and go, and with them "
    "single rows."
)


def main() -> int:
    """Write all that follows from the stored results and return the exit code."""
    try:
        for path, text in texts(ROOT).items():
            with whole_file(ROOT / path) as file:
                file.write_text(text, encoding="utf-8")
            print(path)
        _write_figures(ROOT)
    except CommandError as error:
        sys.stderr.write(f"publish.py: error: {error}\n")
        return report.EXIT_ERROR
    return 0


def texts(root: Path) -> dict[Path, str]:
    """Return what the pages should say, by their paths in a checkout at `root`.

    Raises:
        CommandError: a stored result cannot be read, or a page has no such place.
    """
    folder = root / RESULTS
    pages = {}
    stored = sorted(folder.glob("*.json"))
    results = read_results(stored) if stored else None
    if results is not None and operator_groups(results):
        page = markdown(results, "Benchmarks", report.FIGURE)
        pages[Path("docs", report.TABLE)] = page + "\n"
    if unset := sorted((folder / "default-allocator").glob("*.json")):
        title = "Benchmarks with glibc's allocator as it is"
        page = markdown(read_results(unset), title, notes=WITHOUT_TUNABLES)
        pages[Path("docs", "benchmarks-default-allocator.md")] = page + "\n"
    models = read_models(sorted(folder.glob("*.csv")))
    blocks = readme_blocks(results, models)
    if blocks:
        text = (root / "README.md").read_text(encoding="utf-8")
        pages[Path("README.md")] = with_blocks(text, blocks)
    return pages


def with_blocks(text: str, blocks: Mapping[str, str]) -> str:
    """Return `text` with what is in its blocks of those names replaced.

    Raises:
        CommandError: it has no such block.
    """
    for name, block in blocks.items():
        start = BLOCK.format(name=name)
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(END)}", re.DOTALL)
        if not pattern.search(text):
            raise CommandError(f"README.md has no block {start.strip()!r} that ends in {END!r}")
        text = pattern.sub(lambda _, block=block, start=start: f"{start}{block}\n{END}", text, 1)
    return text


def _write_figures(root: Path) -> None:
    folder, docs = root / RESULTS, root / "docs"
    stored = sorted(folder.glob("*.json"))
    if stored and operator_groups(results := read_results(stored)):
        with whole_file(docs / report.FIGURE) as file:
            report.draw_into(results, file)
    if (models := folder / "models.csv").exists():
        draw_models(models, docs / "models.png")
        output = str(docs / "tradeoff.png")
        command = ["plot", "tradeoff", "--measurements", str(models), "--output", output]
        if stc_ops_command(command) != 0:
            raise CommandError(f"cannot draw {output}")


if __name__ == "__main__":
    sys.exit(main())
