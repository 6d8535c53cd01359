"""Programs of the system whose inputs are known: they read what their arguments name, their standard input, no more.

A command line that is not understood in full is not known, and neither is one that writes other files than those it
names or runs programs that are not known.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_perfcache.facts.stats import read_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LOCALE: Final = ("LANG", "LANGUAGE", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_NUMERIC", "POSIXLY_CORRECT")
_PAGER: Final = (
    *("LESSCHARDEF", "LESSCHARSET", "LESSCLOSE", "LESSKEY", "LESSKEYIN", "LESSKEY_CONTENT", "LESSOPEN"),
    *("LESSUTFCHARDEF", "MORE"),
)
"""Options, files and programs besides those of the command line: where one is set, the pager is not known."""
_HARMLESS: Final = re.compile(r"[-\sEFRSXefnr]*")
"""What ``$LESS`` may say: options without a value."""
_IN_PLACE: Final = re.compile(r"-i[~.\w]*")
_SYSTEM: Final = ("/bin/", "/usr/bin/")
_BINARY: Final = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
"""How executables of Linux and of macOS begin: a script of the same name may do anything."""
_SHELL_PATH: Final = "/bin/sh"
_SHELL: Final = f"#!{_SHELL_PATH}\n".encode()
_IN_SHELL: Final = frozenset((":", "echo", "exit", "false", "printf", "true"))
"""Commands of the shell itself."""
_WORDS: Final = re.compile(r"""[\w\s./:,+@%"'-]+""", re.ASCII)
"""A command that means what it says, to the shell too."""
_SUBSTITUTION: Final = re.compile(r"s([^\w\s\\])(?:(?!\1)[^\\\n]|\\.)*\1(?:(?!\1)[^\\\n]|\\.)*\1[gpIi0-9]*")


class Needs(NamedTuple):
    """What such a program depends on: files as they are named, variables, and perhaps its standard input."""

    files: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    reads_input: bool = False
    written: tuple[str, ...] = ()
    """Files that it changes or makes."""

    def __or__(self, other: Needs) -> Needs:
        """What two programs depend on."""
        return Needs(
            (*self.files, *other.files),
            tuple(dict.fromkeys((*self.variables, *other.variables))),
            self.reads_input or other.reads_input,
            (*self.written, *other.written),
        )


class _Options(NamedTuple):
    """``flags``: letters without a value; ``valued``: letters with one; ``words``: long options without a value."""

    flags: str = ""
    valued: str = ""
    words: frozenset[str] = frozenset()


_FILTERS: Final[Mapping[str, _Options]] = {
    "cat": _Options("AbeEnstTuv", "", frozenset(("number", "show-all", "show-ends", "show-tabs", "squeeze-blank"))),
    "head": _Options("qv", "cn", frozenset(("quiet", "silent", "verbose"))),
    "tail": _Options("qv", "cn", frozenset(("quiet", "silent", "verbose"))),
    "wc": _Options("clmwL", "", frozenset(("bytes", "chars", "lines", "words"))),
    "rev": _Options(),
    "tac": _Options(),
}
_WITHOUT_FILES: Final = frozenset(("echo", "false", "printf", "sleep", "true"))
_PAGERS: Final = {
    "less": _Options("EFRSXefnr", "", frozenset(("RAW-CONTROL-CHARS", "quit-if-one-screen", "chop-long-lines"))),
    "more": _Options(),
}
_KEYS: Final = (
    "/etc/lesskey",
    "/etc/syslesskey",
    "/etc/sysless",
    "/usr/local/etc/syslesskey",
    "/usr/local/etc/sysless",
)
_OWN_KEYS: Final = (".config/lesskey", ".less", ".lesskey")


def needs(program: str, arguments: Sequence[str], environ: Mapping[str, str]) -> Needs | None:
    """What the program, found at this path, depends on; None where that is not known."""
    data = read_bytes(program)
    if data.startswith(_SHELL):
        return _script(data, environ)
    return _of_system(program, data, arguments, environ)


def _of_system(program: str, data: bytes, arguments: Sequence[str], environ: Mapping[str, str]) -> Needs | None:
    if not program.startswith(_SYSTEM) or not data.startswith(_BINARY):
        return None
    return understood(os.path.basename(program), arguments, environ)


def _script(data: bytes, environ: Mapping[str, str]) -> Needs | None:
    """Of a script for the shell, such as tests write to stand for a program: known commands, without any expansion."""
    found = Needs((_SHELL_PATH,), ("PATH",))
    for line in data.removeprefix(_SHELL).decode("ascii", "replace").split("\n"):
        command = _command(line.strip(), environ)
        if command is None:
            return None
        found |= command
    return found


def _command(line: str, environ: Mapping[str, str]) -> Needs | None:
    if not line or line.startswith("#"):
        return Needs()
    try:
        words = shlex.split(line) if _WORDS.fullmatch(line) else []
    except ValueError:  # a quotation that does not end
        return None
    if not words:
        return None
    name, *arguments = words
    if name in _IN_SHELL:
        return Needs(variables=LOCALE)
    looked_for = [os.path.join(directory, name) for directory in environ.get("PATH", "").split(os.pathsep) if directory]
    program = next((path for path in looked_for if os.access(path, os.X_OK)), None)
    if program is None or "/" in name:
        return None
    known = _of_system(program, read_bytes(program), arguments, environ)
    return known and known | Needs(tuple(looked_for[: looked_for.index(program) + 1]))


def understood(name: str, arguments: Sequence[str], environ: Mapping[str, str]) -> Needs | None:
    """The same for the program of the system that bears this name."""
    if name in _WITHOUT_FILES:
        return Needs(variables=LOCALE)
    if name in _FILTERS:
        return _filter(arguments, _FILTERS[name])
    if name in _PAGERS:
        return _pager(arguments, _PAGERS[name], environ)
    return _sed(arguments) if name == "sed" else None


def _filter(arguments: Sequence[str], options: _Options) -> Needs | None:
    files = _files(arguments, options)
    if files is None:
        return None
    named = tuple(file for file in files if file != "-")
    return Needs(named, LOCALE, reads_input=len(named) < len(files) or not files)


def _pager(arguments: Sequence[str], options: _Options, environ: Mapping[str, str]) -> Needs | None:
    """Where its output is no terminal, which nobody tests with, a pager copies."""
    found = _filter(arguments, options)
    told = any(environ.get(name) for name in _PAGER) or not _HARMLESS.fullmatch(environ.get("LESS", ""))
    if found is None or told or any(word.startswith("+") for word in arguments):
        return None
    home = environ.get("HOME", "")
    keys = (*_KEYS, *(os.path.join(home, name) for name in _OWN_KEYS if home))
    variables = (*LOCALE, *_PAGER, "HOME", "LESS", "TERM", "XDG_CONFIG_HOME")
    if environ.get("XDG_CONFIG_HOME"):
        keys = (*keys, os.path.join(environ["XDG_CONFIG_HOME"], "lesskey"))
    return Needs((*found.files, *keys), variables, reads_input=found.reads_input)


def _sed(arguments: Sequence[str]) -> Needs | None:
    """Only substitutions: other commands can write files and run programs. ``-i`` with a suffix keeps a copy."""
    in_place = [word.removeprefix("-i") for word in arguments if _IN_PLACE.fullmatch(word)]
    options = [word for word in arguments if word not in ("-E", "-n", "-r", "-u") and not _IN_PLACE.fullmatch(word)]
    script, *rest = options or [""]
    if not all(_SUBSTITUTION.fullmatch(command) for command in script.split(";")):
        return None
    known = _filter(rest, _Options())
    if known is None or not in_place:
        return known
    return known._replace(written=tuple(file + suffix for file in known.files for suffix in sorted({"", *in_place})))


def _files(arguments: Sequence[str], options: _Options) -> list[str] | None:
    """The arguments that are no options; None where an option is not known."""
    waiting = iter(arguments)
    found: list[str] = []
    for word in waiting:
        if word == "--":
            found += waiting
        elif word.startswith("--"):
            if word[2:] not in options.words:
                return None
        elif word.startswith("-") and word != "-":
            if not _is_known(word[1:], options, lambda: next(waiting, None)):
                return None
        else:
            found.append(word)
    return found


def _is_known(letters: str, options: _Options, value: Callable[[], str | None]) -> bool:
    for at, letter in enumerate(letters):
        if letter in options.valued:
            return at < len(letters) - 1 or value() is not None
        if letter not in options.flags:
            return False
    return True
