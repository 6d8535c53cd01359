"""Marks the project's modules before they are imported, in a process beside pytest's that uses a second core.

To mark a function takes 150 µs, and a first run has to mark them all. What this process marks it leaves in the code
store, which believes only what was marked for the very code that is loaded: so this process can be late, or guess
wrongly what will be loaded, or be killed, and nothing but time is lost.

It is nobody's child: tests that wait for their children, or count them, must not find it.
"""

from __future__ import annotations

import _imp
import importlib.util
import marshal
import os
import sys
from itertools import islice
from typing import TYPE_CHECKING, Final

from pytest_perfcache.facts.places import FOREIGN_PARTS, compiled_files, is_test_file, is_virtual_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType

_fix_co_filename: Final[Callable[[CodeType, str], None]] = getattr(_imp, "_fix_co_filename")  # noqa: B009 - no stub
"""What imports do with compiled files that were moved."""
_LEFT_OUT: Final = FOREIGN_PARTS | {"__pycache__", "build", "dist", "venv"}
_SELDOM: Final = frozenset(("doc", "docs", "example", "examples"))
_TESTS: Final = frozenset(("test", "tests"))
_MAIN: Final = f"from {__name__} import main; main()"
_FEW: Final = 10
"""Modules that are marked sooner than a process starts."""
_HEADER: Final = 16
"""Bytes of a compiled file before its code: magic number, flags, time and size of the source."""
_MASK: Final = 0xFFFFFFFF


def begin(home: str, root: str, pytest_version: str) -> None:
    """Start the process, where it will be done before this one could be; OSError where it can not be started.

    ``home``: the directory of the cache.
    """
    package = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    paths = dict.fromkeys((package, os.path.dirname(os.path.dirname(sys.modules["xxhash"].__file__ or ""))))
    code = f"import sys; sys.path[:0] = {[*paths]!r}; {_MAIN}"
    quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    given = (home, root, pytest_version, str(os.getpid()))
    command = ("/bin/sh", "-c", '"$@" &', "sh", sys.executable, "-IS", "-c", code, *given)
    os.waitpid(os.posix_spawn(command[0], command, os.environ, file_actions=quiet), 0)


def pays(root: str) -> bool:
    """Whether there is enough to mark, and a process can do it.

    In a container, the first process inherits those that are nobody's children.
    """
    can = hasattr(os, "posix_spawn") and os.getpid() != 1 and sys.version_info < (3, 14)
    return can and len([*islice(sources(root), _FEW)]) == _FEW


def main() -> None:
    """Mark what is found, until all is marked or nobody waits for it any more."""
    from pytest_perfcache.trace.codes import Codes
    from pytest_perfcache.trace.codestore import CodeStore
    from pytest_perfcache.trace.marks import MarkTracer

    home, root, pytest_version, pid = sys.argv[1:]
    store = CodeStore(home)
    for path in sorted(sources(root), key=_turn):
        code = code_of(os.path.join(root, path), pytest_version)
        name = path.replace(os.sep, "/")
        if code is not None:
            MarkTracer(Codes(), store).instrument(code, name)
        if not _runs(int(pid)):
            return
    store.finish()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def sources(root: str) -> Iterator[str]:
    """The Python files below the root that may belong to the project, as paths from there."""
    for directory, below, files in os.walk(root):
        below[:] = sorted(name for name in below if _may_be_project(directory, name))
        for name in sorted(files):
            if name.endswith(".py"):
                yield os.path.relpath(os.path.join(directory, name), root)


def _turn(path: str) -> tuple[bool, bool, str]:
    """Before a test module is imported, conftest files and what they import are."""
    parts = path.split(os.sep)
    return not _SELDOM.isdisjoint(parts), not _TESTS.isdisjoint(parts) or is_test_file(path), path


def _may_be_project(directory: str, name: str) -> bool:
    if name in _LEFT_OUT or name.startswith("."):
        return False
    return not is_virtual_environment(os.path.join(directory, name))


def code_of(file: str, pytest_version: str) -> CodeType | None:
    """The code that an import of this file will most likely execute; None where that can not be told."""
    try:
        plain, rewritten = compiled_files(file, pytest_version)
        code = _compiled(file, rewritten)
        if code is None and not is_test_file(file):  # whose assertions pytest rewrites
            code = _compiled(file, plain) or _compile(file)
    except (OSError, ValueError, EOFError, TypeError, SyntaxError, NotImplementedError):
        return None
    if code is not None:
        _fix_co_filename(code, file)
    return code


def _compiled(file: str, cache: str) -> CodeType | None:
    try:
        with open(cache, "rb") as opened:
            data = opened.read()
    except OSError:
        return None
    if not data.startswith(importlib.util.MAGIC_NUMBER) or data[8:_HEADER] != _seal(file, data[4]):
        return None
    code: CodeType = marshal.loads(data[_HEADER:])
    return code


def _seal(file: str, flags: int) -> bytes:
    """What stands in a compiled file of this source: its hash, or its time and size."""
    if flags:
        with open(file, "rb") as opened:
            return importlib.util.source_hash(opened.read())
    found = os.stat(file)
    return b"".join((int(value) & _MASK).to_bytes(4, "little") for value in (found.st_mtime, found.st_size))


def _compile(file: str) -> CodeType:
    with open(file, "rb") as opened:
        code: CodeType = compile(opened.read(), file, "exec", dont_inherit=True)
    return code
