"""Child processes: those that run Python tell what they touched, all others spoil the unit that started them.

Each start that can be traced gets a *ticket*, a name that no other start has, put into the new process's environment
(or, at a fork, left in its memory). The child writes its handover under that name as the last thing it does. When
the test ends, the units that started the child take over what it touched; a child whose handover is not there by
then (killed, still running, left by a way that we do not see) spoils them.
"""

from __future__ import annotations

import _posixsubprocess
import os
import sys
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypeAlias

from pytest_perfcache.facts.stats import read_bytes
from pytest_perfcache.trace.ending import ended_quietly
from pytest_perfcache.trace.handover import Handover
from pytest_perfcache.trace.patches import Patches
from pytest_perfcache.trace.programs import found, has_entry, is_helper, is_this_python, title, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_perfcache.trace.exchange import Exchange
    from pytest_perfcache.trace.programs import Word
    from pytest_perfcache.trace.recorder import Recorder
    from pytest_perfcache.trace.unit import Unit

VARIABLE: Final = "PERFCACHE_CHILD"
"""Ticket and directory, joined by a colon. A traced child takes it out of its environment before anything runs."""
_NAME: Final = os.fsencode(VARIABLE)
SETUP: Final = "setup"
"""The file for children in their parent's directory."""
_SUFFIX: Final = ".trace"
_Environment: TypeAlias = "Mapping[Any, Any] | None"
_ARGS, _CANDIDATES, _DIRECTORY, _ENVIRONMENT, _INPUT, _PREEXEC = 0, 1, 4, 5, 6, -2
"""Places in the arguments of ``_posixsubprocess.fork_exec``."""


class _Started(NamedTuple):
    ticket: str
    name: str
    units: tuple[Unit, ...]


class Children:
    """Those of this process. ``ticket``: its own, empty where it is the session's.

    ``spawning``: a program is being spawned that was decided upon; the interpreter will tell of it.
    """

    def __init__(self, recorder: Recorder, exchange: Exchange, harness_asks: Callable[[int], bool]) -> None:
        self.recorder = recorder
        self.exchange = exchange
        self.harness_asks = harness_asks
        self.installed = has_entry()
        self.spawning = False
        self.ticket = ""
        self.directory = ""
        self._process = os.getpid()
        self._owner = 0
        self._count = 0
        self._forking: _Started | None = None
        self._outstanding: list[_Started] = []
        self._patches = Patches()

    def install(self) -> None:
        """Be told of every start from now on."""
        before = _activate(self)
        self._patches.callback(_activate, before)
        self._patches.put(_posixsubprocess, "fork_exec", _fork_exec)
        subprocess = sys.modules.get("subprocess")
        if subprocess is not None:
            self._patches.put(subprocess, "_fork_exec", _fork_exec)
        self._patches.put(os, "posix_spawn", _posix_spawn)
        self._patches.put(os, "_exit", _exit)

    def close(self) -> None:
        self._patches.close()
        if self.directory and self._owner == os.getpid():
            import shutil

            shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """A program is about to be executed: the arguments with which to do so."""
        words = words_of(args[_ARGS])
        if is_helper(words) or self.harness_asks(3):
            return args
        program = found(args[_CANDIDATES], args[_DIRECTORY])
        if program is not None and args[_PREEXEC] is None:
            base = os.getcwd() if args[_DIRECTORY] is None else os.fsdecode(args[_DIRECTORY])
            variables = None if args[_ENVIRONMENT] is None else _variables(args[_ENVIRONMENT])
            looked_for = [*takewhile(lambda path: path != program, words_of(args[_CANDIDATES])), program]
            if self._is_filter(base, looked_for, words[1:], variables, has_input=args[_INPUT] != -1):
                return args
        value = self._announce(program, words, traceable=args[_PREEXEC] is None)
        if value is None:
            return args
        given = args[_ENVIRONMENT]
        if given is None:
            given = [name + b"=" + content for name, content in os.environb.items()]
        return (*args[:_ENVIRONMENT], [*given, _NAME + b"=" + value], *args[_ENVIRONMENT + 1 :])

    def _is_filter(
        self,
        base: str,
        looked_for: Sequence[str],
        arguments: Sequence[str],
        variables: Mapping[str, str] | None,
        *,
        has_input: bool,
    ) -> bool:
        """Whether all inputs of the program are known; then they are noted.

        ``looked_for``: paths from ``base``, the program's own last; ``variables``: None where they are our own;
        ``has_input``: whether its standard input is another one than ours.
        """
        from pytest_perfcache.trace.filters import needs

        known = needs(looked_for[-1], arguments, os.environ if variables is None else variables)
        if known is None or (known.reads_input and not has_input):
            return False
        inputs = self.exchange.inputs
        for path in (*looked_for, *known.files):
            inputs.read_file(os.path.join(base, path))
        for path in known.written:
            inputs.wrote(os.path.join(base, path))
        for name in known.variables if variables is None else ():
            inputs.read_variable(name, os.environ.get(name))
        return True

    def spawn(
        self, path: Word, args: Sequence[Word], environment: _Environment, *, has_input: bool = False
    ) -> _Environment:
        """A program is about to be spawned: the environment to give it."""
        words = words_of(args)
        if is_helper(words) or self.harness_asks(3):
            return environment
        given = None if environment is os.environ else environment
        program = found([path], None)
        if program is not None:
            variables = given and {os.fsdecode(name): os.fsdecode(value) for name, value in given.items()}
            if self._is_filter(os.getcwd(), [program], words[1:], variables, has_input=has_input):
                return environment
        value = self._announce(program, words)
        if value is None:
            return environment
        return {**(os.environb if given is None else given), _NAME: value}

    def _announce(self, program: str | None, words: list[str], *, traceable: bool = True) -> bytes | None:
        """The variable's value for the new process; None where it can not be traced."""
        if not traceable or not self.installed or not is_this_python(program, words):
            self.recorder.spoil(f"starts a program: {title(words)}")
            return None
        started = self._started(title(words))
        return os.fsencode(f"{started.ticket}:{self._home()}")

    def before_fork(self) -> None:
        if not self.harness_asks(3):
            self._home()
            self._forking = self._started("a copy of itself")

    def after_fork_in_child(self) -> None:
        """This process is the child now; what its parent's unit touched so far is its, too."""
        forking, self._forking = self._forking, None
        self._outstanding.clear()
        self._process = os.getpid()
        self._count = 0
        self.ticket = "" if forking is None else forking.ticket
        self.recorder.continue_here()
        self.exchange.begin()

    def after_fork_in_parent(self) -> None:
        self._forking = None

    def poll(self) -> None:
        """Take over from the children that have ended."""
        for started in self._outstanding.copy():
            self._take_over(started)

    def settle(self) -> None:
        """The test ends: who has not ended by now spoils the units that started it."""
        for started in self._outstanding.copy():
            self._take_over(started, at_last=True)
        for started in self._outstanding:
            for unit in started.units:
                unit.spoil(f"starts a program that left no trace: {started.name}")
        self._outstanding.clear()

    def finish(self, *, at_once: bool = False) -> None:
        """This process ends: tell the parent. ``at_once``: nothing runs any more."""
        ticket, self.ticket = self.ticket, ""
        if not ticket or not self.directory or self._process != os.getpid():
            return
        self.settle()
        handover = self.exchange.hand_over()
        file = os.path.join(self.directory, ticket + _SUFFIX)
        if at_once:
            handover = handover._replace(late="")
        elif handover.late:
            self.exchange.watch_the_end(file)
        handover.write(file)

    def _home(self) -> str:
        """Where children find what they need and leave what they touched: a child's is that of its parent."""
        if not self.directory:
            import tempfile

            self.directory = tempfile.mkdtemp(prefix="perfcache-")
            self._owner = os.getpid()
            self.exchange.setup().write(os.path.join(self.directory, SETUP))
        return self.directory

    def _started(self, name: str) -> _Started:
        self.recorder.flush()
        self._count += 1
        ticket = f"{self.ticket}.{self._count}" if self.ticket else str(self._count)
        started = _Started(ticket, name, tuple(self.recorder.at_work()))
        self._outstanding.append(started)
        return started

    def _take_over(self, started: _Started, *, at_last: bool = False) -> None:
        """``at_last``: a child that has not ended by now is too late."""
        file = os.path.join(self._home(), started.ticket + _SUFFIX)
        try:
            handover = Handover.decode(read_bytes(file))
        except OSError:
            return
        why = handover.untracked
        if handover.late and not ended_quietly(file):
            if not at_last:
                return  # it may be about to end
            why = why or handover.late
        self._outstanding.remove(started)
        os.unlink(file)
        if handover.environment != sys.prefix:
            why = "it belongs to another environment"
        if why:
            for unit in started.units:
                unit.spoil(f"{started.name}: {why}")
        self.exchange.adopt(handover, started.units)


def _variables(environment: Iterable[bytes]) -> dict[str, str]:
    """An environment as ``exec`` takes it."""
    pairs = (os.fsdecode(line).partition("=") for line in environment)
    return {name: value for name, _, value in pairs}


def nested() -> bool:
    """Whether this process is a traced child, or runs in one."""
    return _active is not None and bool(_active.ticket)


def finish(*, at_once: bool = False) -> None:
    """The process ends. Any fault only means that there is no trace."""
    active = _active
    if active is not None:
        try:
            active.finish(at_once=at_once)
        except Exception:  # the parent finds no trace, and says so
            return


_active: Children | None = None
_hooked = False
_original_fork_exec: Final = _posixsubprocess.fork_exec
_original_spawn: Final = os.posix_spawn
_original_exit: Final = os._exit


def _activate(children: Children | None) -> Children | None:
    global _active, _hooked  # noqa: PLW0603 - hooks at forks can not be taken back: one set for the life of the process
    before, _active = _active, children
    if not _hooked:
        _hooked = True
        os.register_at_fork(
            before=lambda: None if _active is None else _active.before_fork(),
            after_in_parent=lambda: None if _active is None else _active.after_fork_in_parent(),
            after_in_child=lambda: None if _active is None else _active.after_fork_in_child(),
        )
    return before


def _fork_exec(*args: Any) -> int:
    active = _active
    pid: int = _original_fork_exec(*(args if active is None else active.start(args)))
    return pid


def _posix_spawn(path: Any, argv: Any, env: Any, **options: Any) -> int:
    active = _active
    if active is None:
        return _original_spawn(path, argv, env, **options)
    env = active.spawn(path, argv, env, has_input=_redirects_input(options.get("file_actions") or ()))
    active.spawning = True
    try:
        return _original_spawn(path, argv, env, **options)
    finally:
        active.spawning = False


def _redirects_input(actions: Iterable[tuple[Any, ...]]) -> bool:
    """Whether file actions give the new process another standard input."""
    places = {os.POSIX_SPAWN_OPEN: 1, os.POSIX_SPAWN_DUP2: 2}
    return any(kind in places and (kind, *rest)[places[kind]] == 0 for kind, *rest in actions)


def _exit(status: int) -> NoReturn:
    finish(at_once=True)
    _original_exit(status)
