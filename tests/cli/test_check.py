"""`stc-ops check`: what agrees, what does not, what is left when time is up, and what it writes."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from backend_cases import on_compiled_backends

from stc_ops.backends import forced_backend
from stc_ops.cli import check as command
from stc_ops.cli import check_capture, check_operators, check_rows
from stc_ops.cli.main import main

CASES = check_rows._cases(check_rows.DTYPES, check_rows.SMALL)
NAME = "bn_add_relu"


@pytest.fixture
def few(monkeypatch):
    """Let there be few operators, at small shapes."""
    operators = {name: check_operators.OPERATORS[name] for name in ("temporal_shift", NAME)}
    monkeypatch.setattr(check_rows, "OPERATORS", operators)
    monkeypatch.setattr(check_rows, "SMALL", check_rows.SMALL[:1])
    monkeypatch.setattr(check_rows, "STAGES", ((8, 3),))


def put_in_a_mistake(monkeypatch):
    """Let an operator be wrong where it is not the reference that runs."""
    right = check_rows.OPERATORS[NAME]

    def wrong(*arguments):
        out = right.run(*arguments)
        return out if forced_backend() == "reference" else out + 0.1

    monkeypatch.setitem(check_rows.OPERATORS, NAME, right._replace(run=wrong))


@on_compiled_backends
@pytest.mark.parametrize("operator", check_operators.OPERATORS)
def test_every_operator_agrees(backend, operator):
    device, name = torch.get_default_device().type, forced_backend()
    for case in CASES:
        if case.operator == operator:
            assert check_rows.agreement(case, device, name).difference is None, case


def test_all_rows_and_both_files(few, tmp_path, capsys):
    assert main(["check", "--output", str(tmp_path / "new"), "--no-compile"]) == 0
    content = json.loads((tmp_path / "new" / "check.json").read_text())
    assert content["all_agree"]
    assert content["planned"] == content["done"] > 0
    assert len(content["agreements"]) + len(content["times"]) == content["done"]
    assert {row["operator"] for row in content["times"]} == {"temporal_shift", NAME}
    assert all(row["seconds"] > 0 and row["times_eager"] > 0 for row in content["times"])
    assert (tmp_path / "new" / "times.png").read_bytes().startswith(b"\x89PNG")
    text = capsys.readouterr().out
    assert "0 different" in text
    assert "not done" not in text


def test_compiled_rows(few, tmp_path):
    assert main(["check", "--output", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "check.json").read_text())["times"]
    assert all(row["times_compiled"] > 0 for row in rows)


def test_a_mistake_is_found_and_named(few, monkeypatch, tmp_path, capsys):
    put_in_a_mistake(monkeypatch)
    assert main(["check", "--output", str(tmp_path), "--no-compile"]) == 1
    text = capsys.readouterr().out
    assert f"{NAME}, training on 'cpu', float32, nchw, 2x4x16x5x5: result 0 by" in text
    content = json.loads((tmp_path / "check.json").read_text())
    assert not content["all_agree"]
    wrong = {row["operator"] for row in content["agreements"] if row["difference"]}
    assert wrong == {NAME}


def test_what_is_left_when_time_is_up_is_counted(few, capsys):
    assert main(["check", "--minutes", "1e-9", "--no-compile"]) == 0
    assert "1 compared, 0 different; " in (text := capsys.readouterr().out)
    assert "rows not done: time was up" in text


def test_an_interrupt_leaves_what_was_found(few, monkeypatch, tmp_path, capsys):
    calls, right = itertools.count(), check_rows.agreement

    def interrupted(*arguments):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return right(*arguments)

    monkeypatch.setattr(command, "agreement", interrupted)
    assert main(["check", "--output", str(tmp_path)]) == 130
    assert "rows not done: interrupted" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "check.json").read_text())["agreements"]) == 3


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "soon"])
def test_minutes_are_positive(minutes, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["check", "--minutes", minutes])
    assert "--minutes: must be" in capsys.readouterr().err


def test_a_file_in_the_place_of_the_folder(few, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["check", "--output", str(tmp_path / "file")]) == 2
    assert "cannot write to" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(capsys):
    assert main(["check", "--device", "cuda"]) == 2
    assert "this machine has no CUDA device" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_a_captured_training_step_is_that_of_no_graph():
    assert check_capture.captured_step_differs() is None
