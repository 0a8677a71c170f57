"""The tables of the report, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from labels import (
    COMPETITORS,
    FAMILY_NAMES,
    FASTEST,
    MODES,
    NETWORKS,
    plural,
    setting_of,
    way_of,
    with_fastest,
)
from results import Results, Row, Rows, grouped, operator_groups, stages_of

MISSING = "–"
FRACTION_OF_FLOOR = "fraction_of_floor"
FRACTION_OF_PEAK = "fraction_of_peak_bytes"
DIGITS = {FRACTION_OF_FLOOR: 2, FRACTION_OF_PEAK: 2}
HEADINGS = {
    FASTEST: "× the fastest of these",
    **{ratio: f"× {competitor.name}" for ratio, competitor in COMPETITORS.items()},
    FRACTION_OF_FLOOR: "of the floor",
    "fraction_of_saved_bytes": "saved for backward, of eager",
    FRACTION_OF_PEAK: "peak memory, of eager",
}
HOW = (
    "Each number is a ratio of medians that were taken in turns in one run, from cold caches, "
    "after every result and every gradient was compared by itself. × is how many times faster, so "
    "below 1 is slower. Eager PyTorch is its fastest form known (`benchmarks/eager.py`); "
    "torch.compile is around the layers and around that, for fixed sizes, in one graph; the floor "
    "is a plain pass over the bytes that each pass has to move."
)


def markdown(results: Results, title: str, figure: str | None = None, notes: str = "") -> str:
    """Return a page of all tables, with a link to `figure` and with `notes` above them."""
    parts = [
        f"# {title}",
        f"{results.machine}, median of {plural(results.runs, 'run')}. {HOW}",
        notes,
        f"![Times faster than what is compared with]({figure})" if figure else "",
        *_operator_tables(results),
        *network_table(results),
    ]
    return "\n\n".join(part for part in parts if part)


def _operator_tables(results: Results) -> Iterable[str]:
    for rows in operator_groups(results):
        first = next(iter(rows))
        stages = stages_of(rows)
        names = " / ".join(f"{channels}x{height}" for channels, height in stages)
        yield f"## {FAMILY_NAMES[first.family]}: {setting_of(first)}, backend `{first.backend}`"
        yield f"At the stages of ResNet-50, channels x height: {names}."
        yield _operator_table(rows, stages)


def _operator_table(rows: Rows, stages: list[tuple[int, int]]) -> str:
    rows = {key: with_fastest(row) for key, row in rows.items()}
    ratios = _ratios_in(rows)
    lines = []
    for (operator, mode), by_key in grouped(rows, lambda key: (key.operator, key.mode)).items():
        by_stage = {key.stage: row for key, row in by_key.items()}
        in_order = [by_stage.get(stage, {}) for stage in stages]
        cells = [
            " / ".join(number(row, ratio, DIGITS.get(ratio, 1)) for row in in_order)
            for ratio in ratios
        ]
        lines.append([f"`{operator}`", MODES[mode], *cells])
    return table(["operator", "pass", *(HEADINGS[ratio] for ratio in ratios)], lines)


def network_table(results: Results) -> Iterable[str]:
    """Yield heading, text and table of the networks, if there are any."""
    rows = {key: with_fastest(row) for key, row in results.of("network").items()}
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
            *(number(row, ratio, digits=2) for ratio in ratios),
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
    yield table(titles, lines)


def table(titles: list[str], lines: list[list[str]]) -> str:
    """Return a table in Markdown."""
    rule = ["---"] * len(titles)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, rule, *lines))


def _ratios_in(rows: Rows) -> list[str]:
    return [ratio for ratio in HEADINGS if any(ratio in row for row in rows.values())]


def number(row: Row, ratio: str, digits: int) -> str:
    """Return a value of a row, or a dash where it has none."""
    return f"{row[ratio]:.{digits}f}" if ratio in row else MISSING
