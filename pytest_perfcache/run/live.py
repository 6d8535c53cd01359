"""Shows the live line below pytest's own progress, where a person looks on."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, TextIO

import pytest

from pytest_perfcache.report.live import Progress
from pytest_perfcache.run.config import shows_terminal

_QUIET_SECONDS: Final = 1.5
_PERIOD: Final = 0.5
_LONG: Final = 0.5
"""In one process nothing can be written while a test runs: a line is shown only where the last took so long."""

# Index, reverse index: a line below exists, whatever scrolls for that. Save, index, erase the line; then restore.
_BELOW: Final = "\x1bD\x1bM\x1b7\x1bD\r\x1b[2K"
_BACK: Final = "\x1b8"
_ERASE: Final = "\x1b[J"


class Screen:
    """The terminal's file: whatever is written to it erases the live line before."""

    def __init__(self, file: TextIO) -> None:
        self.lock: Final = threading.RLock()
        self._file: Final = file
        self._shown = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        with self.lock:
            self.erase()
            return self._file.write(text)

    def erase(self) -> None:
        """Take the live line away; the cursor stands where pytest left it."""
        with self.lock:
            if self._shown:
                self._shown = False
                self._file.write(_ERASE)

    def show(self, line: str) -> None:
        """Put the live line below the one that pytest writes, and the cursor back."""
        with self.lock:
            if line:
                self._file.write(f"{_BELOW}{line}{_BACK}")
                self._shown = True
            else:
                self.erase()
            self._file.flush()


class LivePlugin:
    """Follows the tests; ``beside``: they run on workers, so that a timer may write."""

    def __init__(self, screen: Screen, expected: Callable[[], Mapping[str, float]], *, beside: bool) -> None:
        self._screen: Final = screen
        self._expected: Final = expected
        self._beside: Final = beside
        self._progress: Final = Progress()
        self._progress.workers = 0 if beside else 1
        self._ended: Final = threading.Event()
        self._began = self._last = time.monotonic()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        self._began = time.monotonic()
        timer = threading.Thread(target=self._tick, name="perfcache-live", daemon=True)
        if self._beside:
            timer.start()
        try:
            return (yield)
        finally:
            self._ended.set()
            if self._beside:
                timer.join()
            self._screen.show("")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self) -> None:
        self._progress.workers += 1

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self) -> None:
        self._progress.workers -= 1

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        now = time.monotonic()
        with self._screen.lock:
            self._progress.expect(self._expected())
            self._progress.start(nodeid, now)
        if not self._beside and now - self._last > _LONG:
            self._show(now)
        self._last = now

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        with self._screen.lock:
            self._progress.finish(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The report of a crash has no phase, and no end of the test follows it."""
        if report.when not in ("setup", "call", "teardown"):
            self.pytest_runtest_logfinish(report.nodeid)

    def _tick(self) -> None:
        while not self._ended.wait(_PERIOD):
            self._show(time.monotonic())

    def _show(self, now: float) -> None:
        if now - self._began < _QUIET_SECONDS:
            return
        with self._screen.lock:
            self._screen.show(self._progress.line(now, shutil.get_terminal_size().columns - 1))


def watch(config: pytest.Config, expected: Callable[[], Mapping[str, float]], *, beside: bool) -> None:
    """Begin a live line where someone looks on: a terminal, neither ``-q`` nor ``-v``, output captured, no CI."""
    option = config.option
    watched = shows_terminal(config) and config.get_verbosity() == 0
    plain = option.capture != "no" and not option.usepdb and not option.collectonly
    if not (watched and plain) or os.name != "posix" or os.environ.get("TERM", "dumb") == "dumb":
        return
    if any(os.environ.get(name) for name in ("CI", "BUILD_NUMBER")):
        return
    writer = config.get_terminal_writer()
    file = getattr(writer, "_file", None)  # every plugin's lines go through it, and pytest offers no hook before a line
    if file is not None:
        screen = Screen(file)
        writer._file = screen
        config.pluginmanager.register(LivePlugin(screen, expected, beside=beside), "perfcache-live")
