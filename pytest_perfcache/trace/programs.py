"""Whether a program that is started is this very Python, so that it can be traced."""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

Word: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
_WITH_VALUE: Final = "WX"
_ENDS: Final = "cm"
_SHOWN: Final = 80
_ENTRY: Final = "pytest_perfcache_child.pth"
_HELPER: Final = "from multiprocessing.resource_tracker import main;main("


def words_of(args: Iterable[Word]) -> list[str]:
    return [os.fsdecode(word) for word in args]


def title(words: Sequence[str]) -> str:
    """A command line, short enough to be shown."""
    text = " ".join([os.path.basename(words[0]), *words[1:]]) if words else "nothing"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


PROBES: Final = frozenset(("ldconfig", "uname"))


def is_helper(words: Sequence[str]) -> bool:
    """Whether this program matters to no result.

    The resource tracker of ``multiprocessing`` outlives tests, and only clears up; by the others the standard library
    asks for the platform, which is a fact of the run.
    """
    if not words:
        return False
    tracker = words[-1].startswith(_HELPER) and words[-2] == "-c"
    return tracker or os.path.basename(words[0]) in PROBES


def found(candidates: Iterable[Word], directory: Word | None) -> str | None:
    """The file that ``exec`` takes: the first of the candidates that can be executed."""
    base = os.getcwd() if directory is None else os.fsdecode(directory)
    paths = (os.path.join(base, os.fsdecode(candidate)) for candidate in candidates)
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), None)


def has_entry() -> bool:
    """Whether this Python calls :mod:`pytest_perfcache.child` when it starts."""
    return any(os.path.exists(os.path.join(path, _ENTRY)) for path in site.getsitepackages())


def is_this_python(program: str | None, words: Sequence[str]) -> bool:
    """Whether the program is this interpreter, or a script for it, and reads its ``.pth`` files."""
    if program is None:
        return False
    if _is_own(program):
        return not without_site(words[1:])
    command = _shebang(program)
    return bool(command) and _is_own(command[0]) and not without_site(command[1:])


def without_site(options: Iterable[str]) -> bool:
    """Whether the interpreter's options have ``-S`` in them.

    >>> without_site(["-X", "dev", "-ES", "script.py"]), without_site(["script.py", "-S"])
    (True, False)
    """
    return any("S" in letters for letters in _letters(iter(options)))


def _letters(options: Iterator[str]) -> Iterator[str]:
    """Groups of single-letter options; values, and all that follows a script, ``-c`` or ``-m``, left out."""
    for word in options:
        if not word.startswith("-") or word in ("-", "--"):
            return
        if word.startswith("--"):
            if word == "--check-hash-based-pycs":
                next(options, None)
            continue
        for at, letter in enumerate(word[1:], start=1):
            if letter in _ENDS:
                yield word[1:at]
                return
            if letter in _WITH_VALUE:
                yield word[1:at]
                if at == len(word) - 1:
                    next(options, None)
                break
        else:
            yield word[1:]


def _is_own(program: str) -> bool:
    """The same file in the same directory: virtual environments share the interpreter."""
    return all(
        os.path.realpath(place(program)) == os.path.realpath(place(sys.executable)) for place in (str, os.path.dirname)
    )


def _shebang(program: str) -> list[str]:
    try:
        with open(program, "rb") as file:
            line = file.readline(256)
    except OSError:
        return []
    return os.fsdecode(line[2:]).split() if line.startswith(b"#!") else []
