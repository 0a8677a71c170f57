"""The paper's tables: as data, computed, and as files."""

from __future__ import annotations

import csv
import inspect
from pathlib import Path

import pytest
from command_line import error_line

from stc_ops.cli import tables as tables_command
from stc_ops.cli.main import main
from stc_ops.cli.table_formats import comma_separated, markdown
from stc_ops.models import NETWORKS
from stc_ops.paper import NOTES, TABLE_I, TABLE_II, TABLE_IV, Agreement, agreement
from stc_ops.paper.agreement import parse_figure
from stc_ops.paper.computed import ComputedTable, computed_tables

FILES = ["table-1.csv", "table-2.csv", "table-4.csv", "tables.md"]

# Parameters of Table I's layers.
LAYERS = {
    "C2D": 36_864,
    "C3D": 110_592,
    "P3D": 49_152,
    "GST": 27_648,
    "STC": 30_720,
    # The paper's 24,448 leaves the floor of 8 hidden channels out.
    "STC-Light": 25_088,
}

# Table II: parameters in millions and multiply-accumulates in billions, as they are.
ABLATION = {
    ("TSN", None): ("23.865", "32.878"),
    ("C3D", None): ("46.499", "62.473"),
    ("P3D", None): ("27.637", "37.810"),
    ("TSM", None): ("23.865", "32.878"),
    ("GST", "3/4"): ("21.035", "29.178"),
    ("GST-Large", "3/4"): ("29.523", "40.277"),
    ("STC (only T_S)", "0"): ("27.637", "24.862"),
    ("STC", "1/4"): ("21.978", "22.825"),
    ("STC", "2/4"): ("20.092", "23.488"),
    ("STC", "3/4"): ("21.978", "26.853"),
    ("STC (only S_T)", "1"): ("27.637", "32.919"),
    ("STC-Equal", "3/4"): ("20.092", "24.387"),
    ("STC-Light", "r = 2"): ("20.957", "26.796"),
    ("STC-Light", "r = 4"): ("20.055", "26.764"),
    ("STC-Light", "r = 8"): ("19.610", "26.752"),
    ("STC-Light", "r = 16"): ("19.407", "26.750"),
}

# Rows of Table IV by method and frames.
COMPARISON = {
    ("TIN", "8"): ("23.896", "32.878"),
    ("TAM", "8"): ("25.127", "32.889"),
    ("STM", "8"): ("24.035", "33.193"),
    ("TEA", "8"): ("24.456", "34.744"),
    ("TEA", "16"): ("24.456", "69.487"),
    ("GST", "16"): ("21.035", "58.357"),
    ("TSM", "16"): ("23.865", "65.756"),
    ("STC", "16"): ("21.978", "53.590"),
    ("STC-Light", "16"): ("20.055", "53.490"),
    ("STC ensemble", "8+16"): ("43.957", "80.444"),
    ("STC-Light ensemble", "8+16"): ("40.110", "80.255"),
}

# Table II's figures that are not the paper's.
DEVIATIONS = {
    ("C3D", "parameters"): Agreement.MISMATCH,
    ("P3D", "parameters"): Agreement.MISMATCH,
    ("GST", "FLOPs"): Agreement.NEAR,
    ("GST-Large", "parameters"): Agreement.NEAR,
    ("GST-Large", "FLOPs"): Agreement.NEAR,
    ("STC (only T_S)", "FLOPs"): Agreement.MISMATCH,
    ("STC-Equal", "FLOPs"): Agreement.NEAR,
}


@pytest.fixture(scope="module")
def tables() -> dict[int, ComputedTable]:
    return {table.number: table for table in computed_tables(lambda done, total: None)}


class TestData:
    def test_every_network_can_be_built(self):
        networks = [row.network for row in (*TABLE_I, *TABLE_II)]
        networks += [row.method.network for row in TABLE_IV if row.method.network is not None]
        for network in networks:
            assert network.name in NETWORKS
            inspect.signature(NETWORKS[network.name].builder).bind(174, 8, **network.keywords)

    def test_every_note_is_used_and_exists(self):
        methods = [row.method for row in TABLE_IV]
        used = {note for each in (*TABLE_I, *TABLE_II, *methods) for note in each.notes}
        assert used == NOTES.keys()

    def test_factors_of_flops_are_crops_and_clips(self):
        with_factors = [row for row in TABLE_IV if row.flops and " x " in row.flops]
        assert len(with_factors) > 30
        for row in with_factors:
            assert parse_figure(row.flops).factors == f" x {row.crops} x {row.clips}", row

    def test_rows_of_one_method_and_clip_have_the_same_figures(self):
        figures: dict[tuple[str, tuple[int, ...]], set[object]] = {}
        for row in TABLE_IV:
            flops = row.flops and parse_figure(row.flops).number
            figures.setdefault((row.method.name, row.frames), set()).add((row.parameters, flops))
        assert all(len(different) == 1 for different in figures.values())


class TestAgreement:
    @pytest.mark.parametrize(
        ("computed", "printed", "expected"),
        [
            (26_853_037_184, "26.9G x 3 x 2", Agreement.MATCH),
            (26_849_999_999, "26.9G", Agreement.NEAR),
            (26_850_000_000, "26.9G", Agreement.MATCH),
            # Rounded once: in two steps it would be 26.90, which is 26.9.
            (26_849_500_000, "26.9G", Agreement.NEAR),
            (26_749_514_880, "26.75G", Agreement.MATCH),
            (36_864, "36,864", Agreement.MATCH),
            (36_865, "36,864", Agreement.NEAR),
            (98_000_000, "100.0M", Agreement.NEAR),
            (97_999_999, "100.0M", Agreement.MISMATCH),
            (64_000_000_000, "64G", Agreement.MATCH),
        ],
    )
    def test_digits_of_the_paper(self, computed, printed, expected):
        assert agreement(computed, printed) is expected

    @pytest.mark.parametrize("printed", ["", "26.9 G", "26.9T", "26.9G x", "about 3M"])
    def test_no_figure(self, printed):
        with pytest.raises(ValueError, match="parse_figure: printed must be like"):
            agreement(1, printed)


class TestComputed:
    def test_table_i(self, tables):
        parameters = {
            row.labels["model"]: row.figures["parameters"].computed for row in tables[1].rows
        }
        assert parameters == LAYERS

    def test_table_ii(self, tables):
        computed = {
            (row.labels["method"], row.labels["alpha"]): millions_and_billions(row)
            for row in tables[2].rows
        }
        assert computed == ABLATION

    def test_table_iv(self, tables):
        computed = {
            (row.labels["method"], row.labels["frames"]): millions_and_billions(row)
            for row in tables[4].rows
            if row.figures["FLOPs"].computed is not None
        }
        assert COMPARISON.items() <= computed.items()

    def test_agreement_of_table_ii(self, tables):
        found = {
            (row.labels["method"], name): figure.agreement
            for row in tables[2].rows
            for name, figure in row.figures.items()
            if figure.agreement is not Agreement.MATCH
        }
        assert found == DEVIATIONS

    def test_what_does_not_match_is_explained(self, tables):
        for table in tables.values():
            for row in table.rows:
                found = {figure.agreement for figure in row.figures.values()}
                assert found <= {Agreement.MATCH, None} or row.notes, row.labels

    def test_methods_without_a_network_are_only_quoted(self, tables):
        missing = {
            row.labels["method"]
            for row in tables[4].rows
            if row.figures["parameters"].computed is None
        }
        assert missing == {
            "ECO",
            "I3D",
            "NLI3D",
            "NLI3D+GCN",
            "TSM+TPN",
            "TEINet",
            "RubiksNet",
            "bLVNet-TAM",
            "SmallBig",
            "V4D",
        }


def millions_and_billions(row):
    parameters, macs = row.figures["parameters"].computed, row.figures["FLOPs"].computed
    return f"{parameters / 1e6:.3f}", f"{macs / 1e9:.3f}"


class TestFormats:
    def test_markdown(self, tables):
        text = markdown(list(tables.values()))
        lines = [" ".join(line.split()) for line in text.splitlines()]
        assert (
            "| STC | ResNet-50 | ImageNet | 16 | 3 | 10 | 22.0M | 21.978M match | 53.6G x 3 x 10 "
            "| 53.590G x 3 x 10 match | 52.2 | 80.7 | 65.3 | 89.1 | |" in lines
        )
        assert (
            "| ECO | ResNet-18 | Kinetics | 8 | 1 | 1 | 47.5M | - | 32G | - | 39.6 | - | - | - | |"
            in lines
        )
        quotation = "Accuracies (%) are quoted from the paper; nothing here was trained."
        assert lines.count(quotation) == 2
        assert text.isascii()

    def test_the_page_in_docs_is_this_one(self, tables):
        page = Path(__file__).parents[2] / "docs" / "tables.md"
        assert page.read_text(encoding="utf-8") == markdown(list(tables.values())) + "\n"

    def test_every_row_refers_to_its_notes(self, tables):
        text = markdown([tables[2]])
        table = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
        notes = [line for line in text.splitlines() if line[:1].isdigit()]
        c3d = next(row for row in table if row[0].strip() == "C3D")
        assert notes[int(c3d[-1]) - 1].endswith(NOTES["c3d"])

    def test_counts_of_agreements_add_up(self, tables):
        text = markdown([tables[1]])
        cells = [cell.strip() for cell in text.split("|")]
        assert sum(cell.endswith(" match") for cell in cells) == 10
        assert sum(cell.endswith(" mismatch") for cell in cells) == 2
        assert "In all: 10 match, 0 near, 2 mismatch." in text

    @pytest.mark.parametrize("number", [1, 2, 4])
    def test_csv_has_the_same_figures(self, tables, number):
        lines = list(csv.DictReader(comma_separated(tables[number]).splitlines()))
        rows = tables[number].rows
        assert len(lines) == len(rows)
        for line, row in zip(lines, rows, strict=True):
            assert None not in line
            for label, text in row.labels.items():
                assert line[label.replace("-", "")] == (text or "")
            for name, figure in row.figures.items():
                column = name.lower().replace(" ", "_")
                computed = line[f"{column}_computed"]
                assert line[f"{column}_paper"] == (figure.printed or "")
                assert (computed == "") == (figure.computed is None)
                if figure.computed is not None:
                    assert float(computed) == float(figure.computed)
            assert line["notes"] == " ".join(NOTES[note] for note in row.notes)


class TestCommand:
    @pytest.fixture
    def computed(self, tables, monkeypatch):
        monkeypatch.setattr(tables_command, "computed_tables", lambda on_row: list(tables.values()))

    def test_prints_markdown(self, computed, tables, capsys):
        assert main(["tables"]) == 0
        out, err = capsys.readouterr()
        assert (out, err) == (markdown(list(tables.values())) + "\n", "")

    def test_writes_files(self, computed, tables, tmp_path, capsys):
        (tmp_path / "tables.md").write_text("earlier")
        assert main(["tables", "--output", str(tmp_path)]) == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == FILES
        written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
        assert written["tables.md"] == markdown(list(tables.values())) + "\n"
        assert written["table-2.csv"] == comma_separated(tables[2])
        assert sorted(capsys.readouterr().out.split()) == [str(tmp_path / name) for name in FILES]

    def test_failure_leaves_what_was_there(self, tmp_path, monkeypatch):
        def interrupted(on_row):
            raise KeyboardInterrupt

        monkeypatch.setattr(tables_command, "computed_tables", interrupted)
        (tmp_path / "tables.md").write_text("earlier")
        assert main(["tables", "--output", str(tmp_path)]) == 130
        assert [path.name for path in tmp_path.iterdir()] == ["tables.md"]
        assert (tmp_path / "tables.md").read_text() == "earlier"

    @pytest.fixture
    def nothing_is_counted(self, monkeypatch):
        monkeypatch.setattr(tables_command, "computed_tables", None)

    def test_missing_folder(self, nothing_is_counted, tmp_path, capsys):
        path = tmp_path / "none"
        assert error_line(capsys, "tables", "--output", path) == (
            f"stc-ops: error: cannot write '{path / 'tables.md'}': No such file or directory"
        )

    def test_a_folder_in_the_place_of_a_table(self, nothing_is_counted, tmp_path, capsys):
        (tmp_path / "table-2.csv").mkdir()
        assert error_line(capsys, "tables", "--output", tmp_path) == (
            f"stc-ops: error: cannot write '{tmp_path / 'table-2.csv'}': Is a directory"
        )
        assert [path.name for path in tmp_path.iterdir()] == ["table-2.csv"]
