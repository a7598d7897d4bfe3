"""`python app.py --help` prints help, and starts nothing."""

import subprocess
import sys

from tests.support.paths import ROOT


def run_app(argument: str) -> subprocess.CompletedProcess[str]:
    """What the program prints; on standard error also each module that it imports."""
    command = [sys.executable, "-X", "importtime", "app.py", argument]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_help_comes_before_anything_large_is_imported():
    run = run_app("--help")
    assert run.returncode == 0
    assert run.stdout.startswith("usage: python app.py") and "CAPTIONLENS_CHECKPOINT" in run.stdout
    imported = [line.rpartition("|")[2].strip() for line in run.stderr.splitlines()]
    assert "argparse" in imported and "gradio" not in imported


def test_an_unknown_option_is_a_usage_error():
    run = run_app("--port=7")
    assert run.returncode == 2
    assert "error: unrecognized arguments: --port=7" in run.stderr
