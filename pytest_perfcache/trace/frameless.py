"""Functions that stand in the place of others and are not seen in tracebacks.

Code looks at tracebacks: a command line tells by the depth of one whether a module was not found or failed itself.
"""

from __future__ import annotations

import functools
import operator
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_F = TypeVar("_F", bound="Callable[..., Any]")
_MACHINERY: Final = "<frozen importlib._bootstrap>"


def _nothing() -> Generator[None]:
    yield


_FINISHED: Final = _nothing()
_FINISHED.close()


def like_machinery(function: _F) -> _F:
    """The function under the name that Python gives to frames of imports that nobody wants to see.

    Python takes them out of the tracebacks of imports, and no warning names them.
    """
    assert isinstance(function, FunctionType)
    function.__code__ = function.__code__.replace(co_filename=_MACHINERY, co_name="_call_with_frames_removed")
    return function


def frameless(function: Callable[..., object]) -> Any:
    """A callable that does what the function does, and leaves no frame of it in the tracebacks of what it raises.

    A Python frame that an exception passes is added to its traceback, so the function has to be over before. The
    callable is a class: what ``__new__`` returns is handed out as it is, unless it is an instance; then ``__init__``
    is asked for, which raises. That, a ``property`` over ``methodcaller``, and ``throw`` of a finished generator, which
    raises what it is given, are all C and have no frame.
    """

    class Frameless:
        fail: Callable[[], None]

        @like_machinery
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            try:
                return function(*args, **kwargs)
            except BaseException as error:
                error.__traceback__ = _without(error, 2)
                failed = object.__new__(cls)
                failed.fail = functools.partial(_FINISHED.throw, error)
                return failed

    Frameless.__init__ = property(operator.methodcaller("fail"))  # type: ignore[assignment, method-assign]
    Frameless.__name__ = Frameless.__qualname__ = function.__name__
    Frameless.__doc__ = function.__doc__
    return Frameless


def _without(error: BaseException, frames: int) -> Any:
    """The traceback of an error without its outermost frames."""
    found = error.__traceback__
    for _ in range(frames):
        found = None if found is None else found.tb_next
    return found
