"""Hosts that are reached over sockets: other directories, other processes, the same resources."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from tests.schedule.projects import ROOT, Project, most_at_once, outcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SUITE = """
@pytest.mark.resource("db")
@pytest.mark.parametrize("i", range(8))
def test_db(i):
    with stamped("db", 0.02): pass

@pytest.mark.parametrize("i", range(16))
def test_free(i):
    with stamped(f"free{i}", 0.05): pass
"""


class Host:
    """An execnet socket server with a directory of its own."""

    def __init__(self, path: Path) -> None:
        self.kill: Callable[[], None] = lambda: None
        self.pid = 0
        self.path = path
        self.project = Project(path)
        self.project.write("test_suite.py", SUITE)

    @contextmanager
    def serving(self, stamps: Path) -> Iterator[str]:
        """The `--tx` of the running server."""
        command = [sys.executable, "-u", "-m", "execnet.script.socketserver", "127.0.0.1:0"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "STAMPS": str(stamps)}
        with subprocess.Popen(
            command, cwd=self.path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as server:
            assert server.stdout is not None
            found = re.search(r"\('127\.0\.0\.1', (\d+)\)", server.stdout.readline())
            assert found
            self.kill, self.pid = server.kill, server.pid
            try:
                yield f"socket=127.0.0.1:{found[1]}//chdir={self.path}"
            finally:
                server.kill()


@pytest.fixture
def hosts(tmp_path: Path) -> list[Host]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return [Host(tmp_path / name) for name in ("one", "two")]


def test_two_hosts_share_the_tests_and_the_resources(hosts: list[Host], tmp_path: Path) -> None:
    stamps = tmp_path / "one" / "stamps.txt"
    with hosts[0].serving(stamps) as first, hosts[1].serving(stamps) as second:
        run = hosts[0].project.run("--dist", "load", "--tx", first, "--tx", second)
    assert outcomes(run) == {"passed": 24}, run.stdout + run.stderr
    spans = hosts[0].project.spans()
    assert most_at_once([span for span in spans if span.name == "db"]) == 1
    assert len({span.pid for span in spans}) == 2


def test_a_host_that_is_lost_in_mid_run_is_replaced_by_a_local_worker(hosts: list[Host], tmp_path: Path) -> None:
    stamps = tmp_path / "one" / "stamps.txt"
    with hosts[0].serving(stamps) as first, hosts[1].serving(stamps) as second:
        victim = Thread(target=kill_when_busy, args=(hosts[1], stamps))
        victim.start()
        run = hosts[0].project.run("--dist", "load", "--tx", first, "--tx", second)
        victim.join()
    found = outcomes(run)
    assert found["passed"] + found.get("failed", 0) == 24, run.stdout + run.stderr
    assert found.get("failed", 0) <= 1
    assert "replacing crashed worker" in run.stdout


def kill_when_busy(host: Host, stamps: Path) -> None:
    """Kill the host's server once tests run in its process, or when the run seems never to begin."""
    for _ in range(6000):
        if stamps.exists() and f" {host.pid}\n" in stamps.read_text():
            break
        time.sleep(0.01)
    host.kill()
