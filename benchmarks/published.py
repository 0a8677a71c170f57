"""The tables in README.md, of stored results."""

from __future__ import annotations

from collections.abc import Sequence

from labels import COMPETITORS, FASTEST, MODES, NETWORKS, plural, with_fastest
from report_tables import MISSING, network_table, number, table
from results import Results, Row, Rows, grouped, operator_groups
from stored_models import StoredRow

VARIANTS = {
    "optimized": "optimized for inference",
    "fused": "fused operators",
    "reference": "plain PyTorch, layer by layer",
}
OPERATOR_MODES = ("eval-forward", "training-both")


def readme_blocks(results: Results | None, models: Sequence[StoredRow]) -> dict[str, str]:
    """Return what stands in the blocks of README.md for which there are results."""
    blocks = {}
    if results is not None:
        # Operators and networks may have been measured on different machines.
        machine = f"{results.machine}."
        if of_operators := _of_operators(results):
            blocks |= {"machine": machine, **of_operators}
        if results.of("network"):
            *_, text, of_networks = network_table(results)
            blocks["networks"] = f"{text}\n\n{of_networks}\n\nMeasured on: {machine}"
        if recomputed := results.of("recomputation"):
            blocks["recomputation"] = f"{_recomputation_table(recomputed)}\n\nOn: {machine}"
    if compared := [row for row in models if row.network == "stc" and row.times_tsn is not None]:
        blocks["stc-over-tsn"] = _over_tsn_table(compared)
    return blocks


def _of_operators(results: Results) -> dict[str, str]:
    """Return the table of the first group, the fused operators in float32 and channels_last."""
    group = next(iter(operator_groups(results)), {})
    if not any(key.family == "fused" for key in group):
        return {}
    ratios = (FASTEST, "times_eager")
    lines = [
        [f"`{operator}`"]
        + [
            " / ".join(number(row, ratio, 1) for row in _of_mode(rows, mode))
            for mode in OPERATOR_MODES
            for ratio in ratios
        ]
        for operator, rows in grouped(group, lambda key: key.operator).items()
    ]
    headings = [
        f"{MODES[mode]}: {name}"
        for mode in OPERATOR_MODES
        for name in ("× the fastest", f"× {COMPETITORS['times_eager'].name}")
    ]
    return {"operators": table(["operator", *headings], lines)}


def _of_mode(rows: Rows, mode: str) -> list[Row]:
    of_mode = {key: row for key, row in rows.items() if key.mode == mode}
    return [with_fastest(of_mode[key]) for key in sorted(of_mode, key=lambda key: key.stage)]


def _recomputation_table(rows: Rows) -> str:
    lines = [
        [
            NETWORKS[key.operator],
            f"{row['times_saving']:.2f}",
            f"{row['fraction_of_saved_bytes']:.2f}",
        ]
        for key, row in rows.items()
    ]
    return table(
        ["network", "time without, over time with", "bytes saved, with over without"], lines
    )


def _over_tsn_table(rows: Sequence[StoredRow]) -> str:
    settings = list(dict.fromkeys((row.clips, row.num_segments) for row in rows))
    titles = [f"{plural(clips, 'clip')} of {plural(frames, 'frame')}" for clips, frames in settings]
    lines = []
    for variant, name in VARIANTS.items():
        cells = []
        for setting in settings:
            ratios = [
                row.times_tsn
                for row in rows
                if (row.variant, (row.clips, row.num_segments)) == (variant, setting)
            ]
            cells.append(_range(ratios))
        lines.append([name, *cells])
    return table(["", *titles], lines)


def _range(values: Sequence[float]) -> str:
    if not values:
        return MISSING
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"
