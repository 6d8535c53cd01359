"""Hosts for `--tx ssh=`: a real sshd on loopback, with keys of its own, and interpreters that differ from this one."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.schedule.projects import ROOT

_SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
_NEEDS = "import pytest, xdist, xxhash, psutil, diskcache, coverage; print(pytest.__version__)"

SERVER = """
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host
AuthorizedKeysFile {directory}/client.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
"""

CLIENT = """
Host *
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {directory}/client
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
"""


@contextmanager
def ssh_server(directory: Path) -> Iterator[Path]:
    """The configuration file for `ssh -F` while the server runs; skips the test where there can be none."""
    if _SSHD is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("there is no sshd here (Debian: apt-get install openssh-server)")
    for name in ("host", "client"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(command, check=True)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd refuses to start as root without it
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    for name, text in (("sshd.conf", SERVER), ("ssh.conf", CLIENT)):
        (directory / name).write_text(text.format(port=port, directory=directory, user=getpass.getuser()))
    with subprocess.Popen(
        [_SSHD, "-D", "-e", "-f", str(directory / "sshd.conf")], stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            _wait_for(server, directory / "ssh.conf")
            yield directory / "ssh.conf"
        finally:
            server.terminate()


def _wait_for(server: subprocess.Popen[str], config: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        done = subprocess.run(
            ["ssh", "-F", str(config), "host", "true"], capture_output=True, text=True, check=False, timeout=30
        )
        if done.returncode == 0:
            return
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            told = server.stderr.read() if server.stderr is not None else ""
            pytest.skip(f"sshd can not be had: {done.stderr}{told}")
        time.sleep(0.05)


def python_on_host(directory: Path, python: str = sys.executable, **environ: str) -> Path:
    """An interpreter as a host would have it installed: with this project, whatever the login shell sets."""
    script = directory / "python"
    names = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PERFCACHE_TEST_HOST": directory.name}
    names |= {name: os.environ[name] for name in ("LANG", "PATH") if name in os.environ}
    exports = "unset LANG\n" + "".join(f"export {name}='{value}'\n" for name, value in {**names, **environ}.items())
    script.write_text(f'#!/bin/sh\n{exports}echo $$ >> {directory}/pids\nexec {python} "$@"\n')
    script.chmod(0o755)
    return script


def other_python() -> str:
    """An interpreter of another version that has what the plugin needs; skips the test where there is none."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in ("3.11", "3.12", "3.13"):
        candidates = [shutil.which(f"python{version}"), str(Path(sys.prefix).parent / version / "bin" / "python")]
        for candidate in candidates if version != here else []:
            if candidate and Path(candidate).exists():
                done = subprocess.run([candidate, "-c", _NEEDS], capture_output=True, text=True, check=False)
                if done.stdout.strip() == pytest.__version__:
                    return candidate
    pytest.skip("there is no Python of another version here that has the same pytest and the plugin's dependencies")
