"""Pages under docs: their examples run, their links lead somewhere, their numbers are counted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from markdown_pages import anchors, code_blocks, links

import stc_ops
from stc_ops.cost import cost
from stc_ops.models import NETWORKS

ROOT = Path(__file__).parents[1]
OPERATOR_PAGES = sorted((ROOT / "docs" / "operators").glob("*.md"))
MODEL_PAGES = sorted((ROOT / "docs" / "models").glob("*.md"))
MARKDOWN = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
HEADINGS = ("Formula", "Picture", "Shapes", "Cost", "Example", "Notes", "See also")

PAGES = [*OPERATOR_PAGES, *MODEL_PAGES]


def every(pages):
    return pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(ROOT)))


@every(PAGES)
def test_examples_run(page):
    examples = code_blocks(page, "python")
    assert examples
    names = {}
    for example in examples:
        exec(compile(example, page.name, "exec"), names)


@every([page for page in PAGES if page.name != "README.md"])
def test_sections_are_the_same_on_all_pages(page):
    headings = re.findall(r"^## (.*)$", page.read_text(), flags=re.MULTILINE)
    assert tuple(headings) == HEADINGS


@every(MARKDOWN)
def test_links_lead_somewhere(page):
    for target in links(page):
        path, _, fragment = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not fragment or fragment in anchors(linked), target


def test_links_are_found():
    assert "docs/gates.png" in links(ROOT / "README.md")
    assert "docs/operators/README.md" in links(ROOT / "README.md")
    assert "../README.md#what-is-verified-and-how" in links(ROOT / "docs" / "triton-kernels.md")


@pytest.mark.parametrize("pages", [OPERATOR_PAGES, MODEL_PAGES], ids=["operators", "models"])
def test_index_links_every_page_of_its_folder(pages):
    index = links(pages[0].parent / "README.md")
    for page in pages:
        assert page.name == "README.md" or page.name in index


@pytest.mark.parametrize("operator", sorted({*stc_ops.operators.__all__} - {"BatchNorm"}))
def test_every_operator_has_a_page(operator):
    titles = [page.read_text().partition("\n")[0] for page in OPERATOR_PAGES]
    assert any(re.search(rf"\b{operator}\b", title) for title in titles)


@pytest.mark.parametrize("key", NETWORKS)
def test_every_network_is_on_a_page_and_in_the_table(key):
    pages = [page.read_text() for page in MODEL_PAGES if page.name != "README.md"]
    assert any(f"`{key}`" in page for page in pages)
    assert f"| `{key}` |" in (ROOT / "docs" / "models" / "README.md").read_text()


def rows_of_tables(pattern):
    """Return what `pattern` finds in the rows of tables on the networks' pages."""
    found = (re.findall(pattern, page.read_text(), flags=re.MULTILINE) for page in MODEL_PAGES)
    return sorted({row for rows in found for row in rows})


NETWORK_CALLS = rows_of_tables(r"^\| [^|]+ \| `(\w+\(.*?\))` \| (\d+\.\d{3}) \|.*? (\d+\.\d{3}) \|")
NETWORK_NAMES = rows_of_tables(r"^\| `([\w-]+)` \| [^|]+ \| (\d+\.\d{3}) \|.*? (\d+\.\d{3}) \|")
LAYERS = rows_of_tables(r"^\| [^|]+ \| `(\w+\((\d+)\b.*?\))` \| ([\d,]+) \| (\d+\.\d) \|")


def test_tables_have_rows():
    assert [name for name, *_ in NETWORK_NAMES] == sorted(NETWORKS)
    assert "stc_resnet50(num_segments=16)" in [call for call, *_ in NETWORK_CALLS]
    assert "STC(64, 8)" in [call for call, *_ in LAYERS]


@pytest.mark.parametrize(
    ("call", "parameters", "macs"),
    [(f"NETWORKS[{name!r}].builder()", *numbers) for name, *numbers in NETWORK_NAMES]
    + NETWORK_CALLS,
)
def test_numbers_of_networks_are_counted(call, parameters, macs):
    with torch.device("meta"):
        network = eval(call, vars(stc_ops.models))
    counted = cost(network, (network.num_segments, 3, 224, 224))
    assert f"{counted.parameters / 1e6:.3f}" == parameters
    assert f"{counted.macs / 1e9:.3f}" == macs


@pytest.mark.parametrize(("call", "channels", "parameters", "macs"), LAYERS)
def test_numbers_of_layers_are_counted(call, channels, parameters, macs):
    layer = eval(call, {**vars(torch.nn), **vars(stc_ops.nn)})
    counted = cost(layer, (8, int(channels), 56, 56))
    assert f"{counted.parameters:,}" == parameters
    assert f"{counted.macs / 1e6:.1f}" == macs
