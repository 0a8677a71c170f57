"""The figure of `stc-ops bench models`."""

import pytest
from figure_texts import assert_texts_stay_on_the_page_and_apart, texts_of

from stc_ops.cli.bench_models import Row
from stc_ops.cli.bench_report import Machine

pytest.importorskip("matplotlib")

from stc_ops.cli import bench_figure

MACHINE = Machine("A processor of a long name (R) (TM) 8481C @ 2.70GHz", 128, "cpu", "2.13.0+cpu")
VARIANTS = {"eval": ("optimized", "fused", "reference"), "training": ("fused", "reference")}


def rows_of(networks, modes=("eval", "training")):
    return [
        Row(
            network=f"network-{number}",
            title=f"Network {number}",
            mode=mode,
            variant=variant,
            num_segments=8,
            clips=1,
            size=224,
            dtype="float32",
            device="cpu",
            threads=2,
            median_seconds=0.1 * number * (place + 1),
            low_seconds=0.09 * number * (place + 1),
            high_seconds=0.13 * number * (place + 1),
            clips_per_second=1.0,
            times_faster_than_reference=len(VARIANTS[mode]) / (place + 1),
            times_tsn=None,
            peak_bytes=2**20,
            saved_bytes=None if mode == "eval" else 2**20 * number * (place + 3),
            parameters=1,
            macs=1,
        )
        for number in range(1, networks + 1)
        for mode in modes
        for place, variant in enumerate(VARIANTS[mode])
    ]


@pytest.mark.parametrize("modes", [("eval",), ("training",), ("eval", "training")])
@pytest.mark.parametrize("networks", [1, 4, 13])
def test_texts_stay_on_the_page_and_apart(networks, modes, monkeypatch):
    drawn = bench_figure.draw_rows(rows_of(networks, modes), MACHINE)
    assert assert_texts_stay_on_the_page_and_apart(drawn, monkeypatch) > 10


def test_very_long_name_of_a_machine(monkeypatch):
    machine = MACHINE._replace(name="processor " * 15)
    assert_texts_stay_on_the_page_and_apart(
        bench_figure.draw_rows(rows_of(2), machine), monkeypatch
    )


def test_panels_are_those_that_were_measured():
    panels = {
        modes: [
            axes.get_title(loc="left")
            for axes in bench_figure.draw_rows(rows_of(2, modes), MACHINE).axes
        ]
        for modes in (("eval",), ("training",), ("eval", "training"))
    }
    assert list(panels.values()) == [
        ["Evaluation"],
        ["Training step", "Saved for backward"],
        ["Evaluation", "Training step", "Saved for backward"],
    ]


def test_values_are_drawn_as_they_are():
    evaluation, training, saved = bench_figure.draw_rows(rows_of(2), MACHINE).axes

    def points(axes):
        return [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]

    def spans(axes):
        return [list(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2]

    assert points(evaluation) == pytest.approx([100, 200, 300, 200, 400, 600])
    assert points(training) == pytest.approx([100, 200, 200, 400])
    assert points(saved) == [3, 4, 6, 8]
    assert spans(training)[1] == pytest.approx([180, 260])
    assert {"3.00", "2.00", "0.75"} <= set(texts_of(evaluation.figure))


def test_networks_are_from_top_to_bottom():
    axes = bench_figure.draw_rows(rows_of(3), MACHINE).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "Network 1",
        "Network 2",
        "Network 3",
    ]
    bottom, top = axes.get_ylim()
    assert bottom > top
