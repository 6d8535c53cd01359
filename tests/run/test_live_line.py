"""The live line in real runs under a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.schedule.projects import ROOT

SLOW = """
import pytest, time
@pytest.mark.parametrize("n", range(6))
def test_n(n):
    time.sleep({seconds})
"""


LIVE = re.compile(r"\x1bD\x1bM\x1b7\x1bD\r\x1b\[2K(?P<line>[^\x1b]*)\x1b8|\x1b\[J")


class Terminal:
    """As much of a terminal of a few rows as the line needs: text, line feeds, and the sequences that are written."""

    def __init__(self, rows: int) -> None:
        self.lines = [""]
        self.row = self.column = 0
        self._rows = rows
        self._top = 0
        self._saved = 0, 0

    def feed(self, text: str) -> None:
        for token in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|\x1b.|\n|\r|[^\x1b\n\r]+", text):
            match token:
                case "\n" | "\x1bD":
                    self.row += 1
                    self._top = max(self._top, self.row + 1 - self._rows)
                    self.lines += [""] * (self.row + 1 - len(self.lines))
                case "\x1bM":
                    self.row = max(self._top, self.row - 1)
                case "\r":
                    self.column = 0
                case "\x1b7":
                    self._saved = self.row - self._top, self.column
                case "\x1b8":
                    self.row, self.column = self._saved[0] + self._top, self._saved[1]
                case "\x1b[2K":
                    self.lines[self.row] = ""
                case "\x1b[J":
                    self.lines[self.row] = self.lines[self.row][: self.column]
                    del self.lines[self.row + 1 :]
                case _ if not token.startswith("\x1b"):
                    old = self.lines[self.row].ljust(self.column)
                    self.lines[self.row] = old[: self.column] + token + old[self.column + len(token) :]
                    self.column += len(token)
                case _:
                    assert token.endswith("m"), f"an unknown sequence: {token!r}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_a.py").write_text(SLOW.format(seconds=0.8))
    return tmp_path


def run(project: Path, *args: str, **environ: str) -> str:
    """What a run writes to its terminal."""
    controller, terminal = pty.openpty()
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    command = [sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-p", "pytest_perfcache.plugin"]
    with subprocess.Popen(
        [*command, "-p", "no:cacheprovider", *args],
        cwd=project,
        env={
            **kept,
            "PYTHONPATH": str(ROOT),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "TERM": "xterm",
            "COLUMNS": "80",
            "TMPDIR": str(project.parent),
            **environ,
        },
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        written = bytearray()
        try:
            while data := os.read(controller, 65536):
                written += data
        except OSError:  # the other end is closed
            pass
        finally:
            os.close(controller)
    assert process.returncode in (0, 1), written.decode()
    return written.decode()


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_running_tests_and_the_time_left_are_shown_and_leave_pytests_lines_alone(
    project: Path, workers: tuple[str, ...]
) -> None:
    run(project, TZ="A")
    written = run(project, *workers, TZ="B")
    shown = [found["line"] for found in LIVE.finditer(written) if found["line"]]

    assert any(re.fullmatch(r"running: test_a.py::test_n\[\d\] \d+ s.*, \d+ s left", line) for line in shown), written
    for rows in (4, 100):
        assert seen(written, rows) == seen(LIVE.sub("", written), rows)


def seen(written: str, rows: int) -> list[str]:
    """All lines, also those that were scrolled out at the top."""
    terminal = Terminal(rows)
    terminal.feed(written)
    return [line.rstrip() for line in terminal.lines]


@pytest.mark.parametrize("args", [("-q",), ("-v",), ("-s",)])
def test_no_line_where_another_form_was_asked_for(project: Path, args: tuple[str, ...]) -> None:
    assert "running:" not in run(project, *args)


@pytest.mark.parametrize("environ", [{"CI": "true"}, {"TERM": "dumb"}])
def test_no_line_in_ci_and_on_a_terminal_that_can_not_do_it(project: Path, environ: dict[str, str]) -> None:
    assert "\x1bD" not in run(project, "-n2", **environ)


def test_no_line_in_a_run_of_a_second(project: Path) -> None:
    (project / "test_a.py").write_text(SLOW.format(seconds=0.01))

    assert "\x1bD" not in run(project)
