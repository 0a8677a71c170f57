"""README and docs say what was measured: they are what the stored results give."""

from __future__ import annotations

import json
from pathlib import Path

import publish
import pytest
from test_benchmark_report import NETWORK, OPERATOR, run_of

from stc_ops.cli.bench_models import Row
from stc_ops.cli.bench_report import Machine, write_csv
from stc_ops.cli.errors import CommandError

ROOT = Path(__file__).parents[1]
NAMES = ("machine", "operators", "networks", "recomputation", "stc-over-tsn")


def test_pages_are_what_the_stored_results_give():
    for path, text in publish.texts(ROOT).items():
        assert (ROOT / path).read_text() == text, f"{path}: python benchmarks/publish.py"


def test_the_readme_has_all_blocks():
    publish.with_blocks((ROOT / "README.md").read_text(), dict.fromkeys(NAMES, ""))


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "docs" / "results" / "default-allocator").mkdir(parents=True)
    blocks = "".join(f"{publish.BLOCK.format(name=name)}old\n{publish.END}\n" for name in NAMES)
    (tmp_path / "README.md").write_text(f"# Title\n{blocks}end\n")
    return tmp_path


def block(text, name):
    return text.split(publish.BLOCK.format(name=name))[1].split(f"\n{publish.END}")[0]


def test_nothing_is_written_of_nothing(checkout):
    assert publish.texts(checkout) == {}


def test_benchmarks(checkout):
    training = OPERATOR | {"mode": "training-both", "times_compiled_eager": 0.5}
    recomputation = NETWORK | {"family": "recomputation", "times_saving": 0.98}
    recomputation["fraction_of_saved_bytes"] = 0.7
    results = checkout / "docs" / "results"
    run = run_of(OPERATOR, training, NETWORK, recomputation)
    (results / "all.json").write_text(json.dumps(run))
    (results / "default-allocator" / "all.json").write_text(json.dumps(run_of(OPERATOR)))
    texts = publish.texts(checkout)
    assert [str(path) for path in texts] == [
        "docs/benchmarks.md",
        "docs/benchmarks-default-allocator.md",
        "README.md",
    ]
    readme = texts[Path("README.md")]
    assert readme.startswith("# Title\n")
    assert readme.endswith("-->\nend\n")
    assert block(readme, "machine") == "Some CPU, AVX512, 2 threads, torch 2.13.0."
    assert block(readme, "operators").splitlines()[2] == "| `bn_add_relu` | 1.0 | 2.3 | 0.5 | 2.3 |"
    assert "| STC-ResNet-50 | training step | 1 |" in block(readme, "networks")
    assert block(readme, "recomputation").splitlines()[2] == "| STC-ResNet-50 | 0.98 | 0.70 |"
    assert block(readme, "stc-over-tsn") == "old"


def test_models(checkout):
    rows = [
        Row(*[None] * len(Row._fields))._replace(
            network=network,
            variant=variant,
            mode="eval",
            num_segments=8,
            clips=1,
            size=224,
            threads=2,
            median_seconds=0.1,
            low_seconds=0.1,
            high_seconds=0.1,
            clips_per_second=10.0,
            times_faster_than_reference=1.0,
            times_tsn=ratio,
            peak_bytes=1,
            parameters=1,
            macs=1,
        )
        for network, variant, ratio in (
            ("stc", "optimized", 0.875),
            ("stc", "fused", 0.9),
            ("tsn", "optimized", 1.0),
        )
    ]
    machine = Machine("a processor", 2, "cpu", "2.13.0")
    results = checkout / "docs" / "results"
    write_csv(rows, machine, results / "1.csv")
    write_csv([row._replace(times_tsn=0.95) for row in rows[1:2]], machine, results / "2.csv")
    of_readme = block(publish.texts(checkout)[Path("README.md")], "stc-over-tsn")
    assert of_readme.splitlines() == [
        "|  | 1 clip of 8 frames |",
        "| --- | --- |",
        "| optimized for inference | 0.88 |",
        "| fused operators | 0.90 to 0.95 |",
        "| plain PyTorch, layer by layer | – |",
    ]


def test_a_readme_without_a_block(checkout):
    (checkout / "README.md").write_text("nothing\n")
    (checkout / "docs" / "results" / "all.json").write_text(json.dumps(run_of(OPERATOR)))
    with pytest.raises(CommandError, match=r"README\.md has no block '<!-- machine:"):
        publish.texts(checkout)
