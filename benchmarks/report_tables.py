"""The tables of the report, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from labels import COMPETITORS, FAMILY_NAMES, MODES, NETWORKS, plural, setting_of, way_of
from results import Results, Row, Rows, grouped, operator_groups, stages_of

MISSING = "–"
FRACTION_OF_FLOOR = "fraction_of_floor"
FRACTION_OF_PEAK = "fraction_of_peak_bytes"
DIGITS = {FRACTION_OF_FLOOR: 2, FRACTION_OF_PEAK: 2}
HEADINGS = {
    **{ratio: f"× {competitor.name}" for ratio, competitor in COMPETITORS.items()},
    FRACTION_OF_FLOOR: "of the floor",
    "fraction_of_saved_bytes": "saved for backward, of eager",
    FRACTION_OF_PEAK: "peak memory, of eager",
}


def markdown(results: Results, figure: str) -> str:
    """Return the report with a link to `figure`."""
    return "\n\n".join(
        [
            "# Benchmarks",
            f"{results.machine}. Each number is a ratio of medians that were taken in turns in one "
            f"run, from cold caches, with equal results verified before; median of "
            f"{plural(results.runs, 'run')}. × is how many times faster, so below 1 is slower. "
            "Eager PyTorch is its fastest form known, torch.compile is around the reference; the "
            "floor is a plain pass over the bytes that each pass has to move.",
            f"![Times faster than what is compared with]({figure})",
            *_operator_tables(results),
            *_network_table(results),
        ]
    )


def _operator_tables(results: Results) -> Iterable[str]:
    for rows in operator_groups(results):
        first = next(iter(rows))
        stages = stages_of(rows)
        names = " / ".join(f"{channels}x{height}" for channels, height in stages)
        yield f"## {FAMILY_NAMES[first.family]}: {setting_of(first)}, backend `{first.backend}`"
        yield f"At the stages of ResNet-50, channels x height: {names}."
        yield _operator_table(rows, stages)


def _operator_table(rows: Rows, stages: list[tuple[int, int]]) -> str:
    ratios = _ratios_in(rows)
    lines = []
    for (operator, mode), by_key in grouped(rows, lambda key: (key.operator, key.mode)).items():
        by_stage = {key.stage: row for key, row in by_key.items()}
        in_order = [by_stage.get(stage, {}) for stage in stages]
        cells = [
            " / ".join(_number(row, ratio, DIGITS.get(ratio, 1)) for row in in_order)
            for ratio in ratios
        ]
        lines.append([f"`{operator}`", MODES[mode], *cells])
    return _table(["operator", "pass", *(HEADINGS[ratio] for ratio in ratios)], lines)


def _network_table(results: Results) -> Iterable[str]:
    rows = results.of("network")
    if not rows:
        return
    ratios = _ratios_in(rows)
    lines = [
        [
            NETWORKS[key.operator],
            MODES[key.mode],
            str(key.clips),
            way_of(key),
            f"{row['seconds'] * 1e3:.0f}",
            *(_number(row, ratio, digits=2) for ratio in ratios),
        ]
        for key, row in rows.items()
    ]
    first = next(iter(rows))
    pixels = f"{first.height} x {first.height}"
    yield f"## Networks: {first.dtype}, clips of {first.num_segments} frames of {pixels}"
    yield (
        "A training step is forward, loss and backward, without the optimizer's part. In "
        "evaluation torch.compile freezes: it folds batch norms and packs weights."
    )
    titles = ["network", "pass", "clips", "by", "ms", *(HEADINGS[ratio] for ratio in ratios)]
    yield _table(titles, lines)


def _table(titles: list[str], lines: list[list[str]]) -> str:
    rule = ["---"] * len(titles)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, rule, *lines))


def _ratios_in(rows: Rows) -> list[str]:
    return [ratio for ratio in HEADINGS if any(ratio in row for row in rows.values())]


def _number(row: Row, ratio: str, digits: int) -> str:
    return f"{row[ratio]:.{digits}f}" if ratio in row else MISSING
