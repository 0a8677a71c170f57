"""The README's example runs, and its commands are the ones that CI runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import stc_ops

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def code_blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_the_example_runs_and_gives_the_shapes_it_states():
    (example,) = code_blocks("python")
    names = {"resnet50_state_dict": stc_ops.models.tsn_resnet50(1000).state_dict()}
    exec(compile(example, "README.md", "exec"), names)
    assert names["out"].shape == (16, 64, 56, 56)
    assert names["logits"].shape == (2, 174)
    assert "layer1.0.conv2.spatial.conv.weight" in names["loaded"].sliced


def test_ci_runs_the_commands_as_printed():
    commands = [part.strip() for part in code_blocks("sh")[0].replace("\n", "&&").split("&&")]
    script = (ROOT / ".ci" / "run").read_text()
    packages = {name for command in commands[::2] for name in re.findall(r"[\[,](\w+)", command)}
    assert packages == {"video", "plot", "test"}
    assert "pip install --quiet '.[video,plot,test]'" in script
    assert re.search(r"^stc-ops run --plot", script, flags=re.MULTILINE)
    assert re.search(r"^pytest\b", script, flags=re.MULTILINE)


@pytest.mark.parametrize("name", stc_ops.__all__)
def test_the_readme_names_all_that_is_public(name):
    assert name in README.read_text()


def test_all_names_exist():
    for module in (stc_ops, stc_ops.nn, stc_ops.models, stc_ops.operators):
        for name in module.__all__:
            assert hasattr(module, name), name


def test_operators_of_the_readme_table_are_the_public_ones():
    table = re.findall(r"^\| `(\w+)\(", README.read_text(), flags=re.MULTILINE)
    assert sorted(table) == sorted(stc_ops.operators.__all__)
