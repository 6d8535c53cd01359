"""What a result may depend on beside code: variables, directories, patterns and what ``os.stat`` tells."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from pytest_perfcache.facts.digest import ABSENT, fingerprint_all, fingerprint_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_perfcache.facts.places import Places
    from pytest_perfcache.model import Fingerprint


def environment_fingerprint(value: str | None) -> Fingerprint:
    return ABSENT if value is None else fingerprint_text(value)


VOLATILE_VARIABLES: Final = frozenset(
    """
    _ PERFCACHE_CHILD COLUMNS LINES OLDPWD PWD SHLVL PYTEST_CURRENT_TEST PYTEST_VERSION PYTEST_XDIST_WORKER
    PYTEST_XDIST_WORKER_COUNT PYTEST_XDIST_TESTRUNUID SSH_AUTH_SOCK SSH_CLIENT SSH_CONNECTION SSH_TTY
    TERM_SESSION_ID WINDOWID XDG_SESSION_ID INVOCATION_ID JOURNAL_STREAM DBUS_SESSION_BUS_ADDRESS TMUX TMUX_PANE STY
    GITHUB_RUN_ID GITHUB_RUN_NUMBER GITHUB_RUN_ATTEMPT GITHUB_SHA CI_JOB_ID CI_PIPELINE_ID CI_COMMIT_SHA
    BUILD_NUMBER BUILD_ID
    """.split()
)
"""Names left out when a test looks at the whole environment: they change from run to run by their nature."""


MACHINE: Final = "machine:host and boot"
_BOOT: Final = "/proc/sys/kernel/random/boot_id"


def machine_fingerprint() -> Fingerprint:
    """This machine as it is until it is started again: what a library finds there without a file that could be seen,
    such as devices and drivers, is taken to stay the same for so long."""
    import platform

    try:
        with open(_BOOT, encoding="ascii") as file:
            boot = file.read()
    except OSError:  # not Linux
        boot = ""
    return fingerprint_all((platform.node(), boot))


def whole_environment(environ: Mapping[str, str]) -> Fingerprint:
    kept = (f"{name}={value}" for name, value in sorted(environ.items()) if name not in VOLATILE_VARIABLES)
    return fingerprint_all(kept)


def listing_fingerprint(places: Places, name: str) -> Fingerprint:
    """The names in a directory, with their kinds; caches that a run itself makes are left out."""
    try:
        with os.scandir(places.full(name)) as entries:
            names = sorted(entry.name + _kind(entry) for entry in entries if entry.name not in _MADE_BY_RUNS)
    except OSError:
        return ABSENT
    return fingerprint_all(names)


def _kind(entry: os.DirEntry[str]) -> str:
    """What an entry tells of itself without being opened; the file system mostly gives it with the name."""
    return ("@" if entry.is_symlink() else "") + ("/" if entry.is_dir() else "")


def glob_fingerprint(places: Places, pattern: str, content: Callable[[str], Fingerprint]) -> Fingerprint:
    """The files that match a pattern from the root, and what is in them."""
    names = sorted(places.relative(str(path)) for path in places.root.glob(pattern) if path.is_file())
    return fingerprint_all(part for name in names for part in (name, content(name).hex()))


_MADE_BY_RUNS: Final = frozenset(
    ("__pycache__", ".pytest_cache", ".perfcache", ".hypothesis", ".coverage", ".testmondata")
)


def stat_fingerprint(places: Places, name: str) -> Fingerprint:
    """What ``os.stat`` tells that another checkout would tell too: kind, mode and, for files, the size."""
    path = places.full(name)
    try:
        found = os.lstat(path)
    except OSError:
        return ABSENT
    link = os.readlink(path) if stat.S_ISLNK(found.st_mode) else ""
    try:
        target = os.stat(path) if link else found
    except OSError:
        return fingerprint_text(f"dangling {link}")
    is_file = stat.S_ISREG(target.st_mode)
    return fingerprint_all((oct(target.st_mode), str(target.st_size) if is_file else "", link))
