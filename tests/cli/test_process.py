"""The command as a process: streams, signals, progress."""

import os
import signal
import subprocess
import sys
import time

import pytest
from command_line import run_command

import stc_ops
from stc_ops.cli.progress import progress_bar


class TestProcess:
    def test_import_needs_no_optional_package(self, tmp_path):
        script = (
            "import sys, stc_ops, stc_ops.video, stc_ops.cli.main; "
            "print([name for name in ('av', 'matplotlib', 'rich') if name in sys.modules])"
        )
        process = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert process.stdout == "[]\n"

    def test_error(self, tmp_path):
        process = run_command("run", "none.mp4", cwd=tmp_path)
        assert process.returncode == 2
        assert process.stdout == ""
        assert process.stderr == (
            "stc-ops: error: cannot read 'none.mp4': No such file or directory\n"
        )

    def test_config(self, tmp_path, capsys):
        process = run_command("config", cwd=tmp_path)
        assert (process.returncode, process.stderr) == (0, "")
        stc_ops.show_config()
        assert process.stdout == capsys.readouterr().out

    def test_broken_pipe_is_quiet(self, tmp_path):
        with subprocess.Popen(
            [sys.executable, "-m", "stc_ops", "config"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 141

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
    def test_full_disk(self, tmp_path):
        with open("/dev/full", "w") as full:
            process = subprocess.run(
                [sys.executable, "-m", "stc_ops", "config"],
                cwd=tmp_path,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert process.returncode == 2
        assert process.stderr == "stc-ops: error: [Errno 28] No space left on device\n"

    def test_interrupt(self, clip, tmp_path):
        pytest.importorskip("matplotlib")
        arguments = ["run", str(clip), "--plot", "gates.png"]
        with subprocess.Popen(
            [sys.executable, "-m", "stc_ops", *arguments],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # What a shell starts in the background ignores it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            # The unfinished figure says that the command is at work.
            while not list(tmp_path.iterdir()) and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (130, "", "stc-ops: interrupted\n")
        assert list(tmp_path.iterdir()) == []


class TestProgress:
    def test_bar_on_a_terminal(self, monkeypatch, capsys):
        pytest.importorskip("rich")
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        with progress_bar("decoding") as advance:
            advance(3, 5)
        out, err = capsys.readouterr()
        assert out == ""
        assert "decoding" in err

    def test_silent_without_rich(self, monkeypatch, capsys):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        for name in ("rich", "rich.console", "rich.progress"):
            monkeypatch.setitem(sys.modules, name, None)
        with progress_bar("decoding") as advance:
            advance(3, 5)
        assert capsys.readouterr() == ("", "")

    def test_silent_elsewhere(self, capsys):
        with progress_bar("decoding") as advance:
            advance(3, 5)
        assert capsys.readouterr() == ("", "")
