"""Ways to run the command line and to read what it prints."""

import subprocess
import sys

from stc_ops.cli.main import main

REPORT_NAMES = [
    "video",
    "frames",
    "network",
    "parameters",
    "MACs",
    "threads",
    "operators",
    "reference",
    "difference",
    "top 5",
]


def run_command(*arguments, cwd, **options):
    return subprocess.run(
        [sys.executable, "-m", "stc_ops", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


def error_line(capsys, *arguments):
    """Run a command that must fail and return the one line that it writes."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as exit_of_parser:
        code = exit_of_parser.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err[:-1]


def report(output):
    """Split a report into its names and texts."""
    entries = {}
    for line in output.splitlines():
        if not line.startswith(" "):
            name, entries[line[:12].rstrip()] = line[:12].rstrip(), []
        entries[name].append(line[12:])
    return {name: "\n".join(texts) for name, texts in entries.items()}
