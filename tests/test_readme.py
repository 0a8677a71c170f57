"""The README's example runs, what it names exists, and CI runs its commands as printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_pages import code_blocks

import stc_ops

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def test_the_example_runs_and_gives_the_shapes_it_states():
    names = {}
    for example in code_blocks(README, "python"):
        exec(compile(example, "README.md", "exec"), names)
    assert names["out"].shape == (16, 64, 56, 56)
    assert names["logits"].shape == (2, 174)
    assert names["mixed"].shape == (16, 256, 14, 14)


def test_ci_takes_its_commands_from_the_readme():
    main_job, tests = code_blocks(README, "sh")[0].splitlines()
    assert main_job == "pip install '.[video,plot]' && stc-ops run --plot gates.png"
    assert tests == "pip install '.[test]' && pytest"
    script = (ROOT / ".ci" / "run").read_text()
    assert 'eval "$(readme_command 1)"' in script
    assert 'eval "$(readme_command 2)"' in script


@pytest.mark.parametrize("name", stc_ops.__all__)
def test_the_readme_names_all_that_is_public(name):
    assert re.search(rf"`stc_ops\.{name}\b|`{name}\(|stc_ops\.{name}\(", README.read_text())


def test_all_names_exist():
    for module in (stc_ops, stc_ops.nn, stc_ops.models, stc_ops.operators):
        for name in module.__all__:
            assert hasattr(module, name), name


def test_operators_of_the_table_are_the_public_ones():
    table = re.findall(r"^\| `(\w+)\(", README.read_text(), flags=re.MULTILINE)
    assert {*table, "BatchNorm"} == set(stc_ops.operators.__all__)


@pytest.mark.parametrize("module", [stc_ops.nn, stc_ops.models], ids=lambda each: each.__name__)
def test_the_readme_names_all_layers_and_models(module):
    text = README.read_text()
    unnamed = [
        name for name in module.__all__ if not re.search(rf"`(stc_ops\.nn\.)?{name}[`(]", text)
    ]
    assert unnamed == []


def test_the_readme_counts_the_figures_of_the_tables():
    tables = (ROOT / "docs" / "tables.md").read_text()
    numbers = re.search(r"(\d+) match, (\d+) near, (\d+) mismatch", tables).groups()
    match, near, mismatch = map(int, numbers)
    text = " ".join(README.read_text().split())
    assert f"have {match + near + mismatch} figures" in text
    assert f"computed: {match} are the same" in text
    assert f"{near} are within 2 %, {mismatch} are not" in text
