"""Sees files, directories, some programs and connections through the interpreter's audit events.

An audit hook can not be removed, so there is one for the life of the process; it hands events to the observer that
is installed, and costs one look-up for every event that nobody waits for.
"""

from __future__ import annotations

import enum
import os
import sys
import weakref
from _thread import get_ident
from collections.abc import Callable
from importlib.util import find_spec
from stat import S_ISLNK
from types import FrameType, FunctionType
from typing import TYPE_CHECKING, Any, Final

from pytest_perfcache.facts.places import Places
from pytest_perfcache.trace.codes import nested
from pytest_perfcache.trace.inputs import Inputs
from pytest_perfcache.trace.programs import PROBES
from pytest_perfcache.trace.recorder import Recorder

if TYPE_CHECKING:
    import socket

_LOCAL: Final = ("127.", "::1", "localhost", "0.0.0.0")
_NUMERIC: Final = str.maketrans("", "", "0123456789.:abcdefABCDEF")
_ACCESS: Final = os.O_RDONLY | os.O_WRONLY | os.O_RDWR
_CHANGING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_NAMELESS: Final = getattr(os, "O_TMPFILE", -1)
"""For a temporary file without a name; the path is its directory's."""
_IMPORTING: Final = frozenset(("get_code", "_fill_cache", "_cache_bytecode", "set_data", "path_stats", "find_spec"))
_TOOLS: Final = ("_hypothesis_pytestplugin", "_pytest", "coverage", "execnet", "hypothesis", "pluggy", "xdist")
_HARNESS: Final = (
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
    *(
        spec.origin if not spec.origin.endswith("__init__.py") else os.path.dirname(spec.origin) + os.sep
        for spec in map(find_spec, _TOOLS if "_pytest" in sys.modules else ())
        if spec is not None and spec.origin is not None
    ),
)
"""A child process has no harness: if it runs pytest, that is what the test does."""
_BETWEEN: Final = os.path.join(os.path.dirname(__file__), "stat.py")
"""Stands between the code and what it asks for."""
_ON_BEHALF: Final = f"{os.sep}pytester.py"
_FROZEN: Final = "<frozen "
_STDLIB: Final = os.path.dirname(os.__file__) + os.sep
_IMPORTLIB: Final = ("<frozen importlib._bootstrap", os.path.join(_STDLIB, "importlib", "_bootstrap"))
_METADATA: Final = os.path.join(_STDLIB, "importlib", "metadata", "")
_SITE: Final = ("site-packages" + os.sep, "dist-packages" + os.sep)
_getframe: Final = sys._getframe  # tests take it away from `sys`
_lstat: Final = os.lstat
"""Before others, and we, put something else in its place."""
_DEPTH: Final = 6
"""Frames between the code that causes an event and the question who asks: handler, look, guard, handle, hook."""
_ATTRIBUTE: Final = "object.__getattr__"
"""Is raised for a few attributes, such as the code of a function or a frame."""
_DEFAULTS: Final = ("__defaults__", "__kwdefaults__")
_PROGRAMS: Final = frozenset(
    (
        "os.system",
        "os.exec",
        "os.spawn",
        "pty.spawn",
    )
)


class AuditObserver:
    """Turns audit events into inputs, and into reasons why a unit can not be tracked."""

    def __init__(self, inputs: Inputs, places: Places, recorder: Recorder, importing: list[str]) -> None:
        self._inputs = inputs
        self._places = places
        self._recorder = recorder
        self._importing = importing
        self._busy: int | None = None
        self._bound: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self.spawning: Callable[[], bool] = lambda: False
        self.before: Callable[[], None] = lambda: None
        """Called before a file or a directory is looked at: a child may have made it."""
        self._handlers: dict[str, Callable[..., None]] = {
            "open": self._open,
            "os.listdir": self._list,
            "os.scandir": self._scan,
            "os.mkdir": self._mkdir,
            "os.rename": self._rename,
            "os.link": self._rename,
            "os.remove": self._remove,
            "os.symlink": self._rename,
            "sqlite3.connect": self._database,
            "socket.bind": self._bind,
            "socket.connect": self._connect,
            "socket.getaddrinfo": self._look_up,
            "socket.gethostbyname": self._look_up,
            "socket.gethostbyaddr": self._look_up,
            "ctypes.dlopen": self._library,
            "builtins.breakpoint": self._breakpoint,
            "os.posix_spawn": self._spawn,
            _ATTRIBUTE: self._defaults,
            **dict.fromkeys(_PROGRAMS, self._program),
        }
        self.events = frozenset(self._handlers)
        """Those that :meth:`handle` does something with."""
        self._previous = install(self)

    def close(self) -> None:
        install(self._previous)

    def handle(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and not args[2] & _CHANGING and self._inputs.is_foreign(args[0]):
            return  # most of what is opened, and not worth the question who asks
        if event == _ATTRIBUTE and not self._is_traced(args[0]):
            return  # pytest asks for the signature of each of its own fixtures, in each test
        handler = self._handlers[event]
        self.guarded(lambda: handler(*args))

    def _open(self, path: object, _mode: object, flags: int) -> None:
        name = _path(path)
        if name is None or name in self._importing or flags & _NAMELESS == _NAMELESS or harness_asks(_DEPTH):
            return
        reads = flags & _ACCESS != os.O_WRONLY and not flags & os.O_TRUNC
        if not reads and os.path.isdir(name):
            return  # `tempfile` names the directory, and opens a file in it by other means
        if not reads or (flags & os.O_CREAT and not os.path.exists(name)):
            self._inputs.wrote(name)
            return
        if not name.endswith(".pyc"):
            self.before()
            self._inputs.read_file(name)

    def _list(self, path: object = None) -> None:
        name = "." if path is None else _path(path)
        if name is not None and not harness_asks(_DEPTH):
            self.before()
            self._inputs.read_directory(name)

    def _scan(self, path: object = None) -> None:
        """Entries tell kind and size without an event: code that asks them for it depends on each of them."""
        name = "." if path is None else _path(path)
        if name is None or harness_asks(_DEPTH):
            return
        self.before()
        self._inputs.read_directory(name)
        asking = _getframe(_DEPTH - 1).f_code
        mentions = any("stat" in code.co_names for code in (asking, *nested(asking)))
        if mentions and not asking.co_filename.startswith((_STDLIB, _FROZEN)):
            for entry in os.listdir(name):
                self._inputs.looked_at(os.path.join(name, entry))

    def _mkdir(self, path: object, *_: object) -> None:
        name = _path(path)
        if name is not None and not os.path.exists(name):
            self._inputs.made_directory(name)

    def _rename(self, _source: object, target: object, *_: object) -> None:
        name = _path(target)
        if name is not None:
            self._inputs.linked(name)

    def _remove(self, path: Any, directory: int) -> None:
        """``directory``: the open one from which the path leads, -1 where there is none."""
        if _is_link(path, None if directory < 0 else directory):
            self._inputs.removed_link()

    def _database(self, path: object) -> None:
        name = _path(path)
        if name is None:
            return
        creates = True
        if name.startswith("file:"):
            from urllib.parse import unquote, urlsplit

            uri = urlsplit(name)
            name, creates = unquote(uri.path), "mode=r" not in uri.query or "mode=rwc" in uri.query
        if name in ("", ":memory:"):
            return
        if os.path.exists(name) or not creates:
            self._inputs.read_file(name)
        else:
            self._inputs.wrote(name)

    def _bind(self, bound: socket.socket, _address: object) -> None:
        self._bound.add(bound)

    def _connect(self, _socket: object, address: object) -> None:
        """A server in this process is part of the test; every other one is a world of its own."""
        if not self._serves(address) and not harness_asks(_DEPTH):
            self._recorder.spoil(f"connects to {address}")

    def _serves(self, address: object) -> bool:
        for bound in self._bound:
            own = bound.getsockname() if bound.fileno() >= 0 else None
            if own == address and own:
                return True
            if isinstance(own, tuple) and isinstance(address, tuple) and own[1] == address[1] and _is_local(address[0]):
                return True
        return False

    def _look_up(self, host: object, *_: object) -> None:
        if not _is_here(host) and not harness_asks(_DEPTH):
            self._recorder.spoil(f"looks up {host} on the network")

    def _library(self, path: object) -> None:
        name = _path(path)
        if name is not None and os.sep in name and not harness_asks(_DEPTH):
            self._inputs.read_file(name)

    def _program(self, *args: object) -> None:
        name = os.path.basename(_path(args[0]) or "") if args else ""
        if name not in PROBES and not harness_asks(_DEPTH):
            self._recorder.spoil(f"starts a program: {name or 'a copy of itself'}")

    def _is_traced(self, function: object) -> bool:
        """Whether this is a function of the project."""
        return type(function) is FunctionType and self._recorder.calls.number_of(function.__code__) is not None

    def _defaults(self, function: FunctionType, _name: str) -> None:
        """Whoever calls the function depends on its defaults anyway; a library may keep what it saw of them."""
        asker = _asker(_DEPTH)
        if asker is not None:
            self._recorder.add_defaults(function.__code__, everywhere=not self._places.is_project(asker))

    def _spawn(self, path: object, *_: object) -> None:
        if not self.spawning() and not harness_asks(_DEPTH):
            self._recorder.spoil(f"starts a program: {path}")

    def _breakpoint(self, *_: object) -> None:
        self._recorder.spoil("enters a debugger")

    def busy(self) -> bool:
        """Whether this thread is looking at something for us."""
        return self._busy == get_ident()

    def guarded(self, look: Callable[[], None]) -> None:
        """Look at something, unless this happens because of looking; a failure only spoils the unit."""
        me = get_ident()
        if self._busy == me:
            return
        self._busy = me
        try:
            look()
        except Exception as error:
            self._recorder.spoil(f"observing failed: {error!r}")
        finally:
            self._busy = None


def harness_asks(depth: int, *, metadata: bool = True) -> bool:
    """Whether pytest, or Python's import machinery, does this for itself rather than for the code under test.

    ``depth``: how many frames up what is done was called. The standard library only passes the question on.
    ``metadata``: ``importlib.metadata`` asks for itself, too; what is asked of it is a fact of its own.
    """
    return _asker(depth + 1, metadata=metadata) is None


def _asker(depth: int, *, metadata: bool = True) -> str | None:
    """The file of the code under test that does this, empty where there is none; None where the harness does."""
    try:
        frame: FrameType | None = _getframe(depth)
    except ValueError:
        return ""
    while frame is not None:
        file = file_of_frame(frame)
        role = _roles.get(file) or _role(file)
        if role is _Role.ASKS:
            return file
        if (
            role is _Role.HARNESS
            or (role is _Role.METADATA and metadata)
            or (role is _Role.IMPORTS and frame.f_code.co_name in _IMPORTING)
        ):
            return None
        frame = frame.f_back
    return ""


def file_of_frame(frame: FrameType) -> str:
    """The file of the module that the frame's function belongs to; of code without one, what it says itself.

    Unlike ``f_code``, ``f_globals`` is no audit event, and so many times faster.
    """
    file = dict.get(frame.f_globals, "__file__")  # what code is executed in may have a `get` of its own
    return file if type(file) is str else frame.f_code.co_filename


class _Role(enum.Enum):
    """What code in a file has to do with what is asked."""

    ASKS = enum.auto()
    HARNESS = enum.auto()
    IMPORTS = enum.auto()
    METADATA = enum.auto()
    PASSES_ON = enum.auto()


_roles: Final[dict[str, _Role]] = {}


def _role(file: str) -> _Role:
    if file.startswith(_IMPORTLIB):
        role = _Role.IMPORTS
    elif file.startswith(_HARNESS) and file != _BETWEEN:
        role = _Role.ASKS if file.endswith(_ON_BEHALF) else _Role.HARNESS
    elif file.startswith(_METADATA):
        role = _Role.METADATA
    elif not file.startswith((_STDLIB, _FROZEN, _BETWEEN)) or any(part in file for part in _SITE):
        role = _Role.ASKS
    else:
        role = _Role.PASSES_ON
    _roles[file] = role
    return role


def _is_local(host: object) -> bool:
    return isinstance(host, str) and host.startswith(_LOCAL)


def _is_here(host: object) -> bool:
    """Whether a host is this one, or needs no look-up."""
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    return name is None or name in ("", "localhost") or not str(name).translate(_NUMERIC)


def _is_link(path: Any, directory: int | None) -> bool:
    try:
        return S_ISLNK(_lstat(path, dir_fd=directory).st_mode)
    except OSError:  # it is not there, which whoever removes it is going to be told
        return False


def _path(path: object) -> str | None:
    if isinstance(path, str | bytes | os.PathLike):
        return os.fsdecode(path)
    return None


_observer: AuditObserver | None = None
_events: frozenset[str] = frozenset()
_hooked = False


def install(observer: AuditObserver | None) -> AuditObserver | None:
    """Hand events to ``observer`` from now on; returns the one before."""
    global _events, _hooked, _observer  # noqa: PLW0603 - the hook is the interpreter's, one for the life of the process
    before, _observer = _observer, observer
    _events = frozenset() if observer is None else observer.events
    if not _hooked and observer is not None:
        _hooked = True
        sys.addaudithook(_hook)
    return before


def _hook(event: str, args: tuple[Any, ...]) -> None:
    # Called hundreds of thousands of times: `id`, `sys._getframe` and the `f_code` of a frame are events, too.
    if event in _events and (event != _ATTRIBUTE or args[1] in _DEFAULTS) and _observer is not None:
        _observer.handle(event, args)
