"""Light nodes: they stand in the place of a module and its tests that are known to be hits, without an import.

They are made from a sketch, and show what the real ones would show: node id, location, marks, keywords. Whoever asks
for more (the function, the class, a fixture, a parameter) makes the module be collected for real, and gets that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_perfcache.collect.sketch import EMPTY, ClassSketch, ItemSketch, Sketch, unpack

Enlist = Callable[[pytest.Collector], Iterator[pytest.Item]]
"""Collects a real module with all that pytest does on that occasion, and gives its tests."""


LATE: Final = pytest.StashKey[bool]()
"""Marks a module that was collected after a light one had stood in its place."""

_READ_NAMES: Final = ("_pytest.mark", "_hypothesis_pytestplugin")
"""Who looks at a function for the names of its attributes alone: ``-k``, and hypothesis to find its tests."""


class LazyMark:
    """A mark of which only the name is known; everything else is the real one's."""

    def __init__(self, name: str, real: Callable[[], Any]) -> None:
        self.name = name
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)

    def __repr__(self) -> str:
        return repr(self._real())


class LightModule(pytest.Module):
    """Stands for a module whose tests are all hits. ``real`` is the module itself, collected when it is needed.

    ``sketch`` gives what is remembered of it; None where nobody would look at its tests, which then do not appear.
    ``skip``: why it is skipped as a whole, where it is.
    """

    def __init__(
        self, *, sketch: Sketch | None, entry: str | None, enlist: Enlist, skip: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._skip = skip
        self.sketch = EMPTY if sketch is None else sketch
        self._entry = entry
        self._enlist = enlist
        self._real: pytest.Module | None = None
        self._items: dict[str, pytest.Item] = {}
        self.marks: dict[int, pytest.Mark] = {}
        """Those that are wholly known, by number: as in pytest, the tests of one function share them."""
        self.lights: list[LightFunction] = []
        """Its tests, once they are shown, while they may be needed."""

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        if self._entry is not None:
            _put_on_path(str(Path(self.config.rootpath, self._entry)), self.config.getoption("importmode"))
        if self._skip is not None:
            pytest.skip(self._skip, allow_module_level=True)
        return list(self.show(self.sketch))

    def show(self, sketch: Sketch) -> list[LightFunction]:
        """Light tests as the sketch has them. To be called once."""
        self.sketch = sketch
        _mark(self, self, sketch.own, lambda: self.real)
        classes: dict[int, pytest.Collector] = {-1: self}
        for number, row in enumerate(self.sketch.classes):
            classes[number] = LightClass.from_parent(classes[row.parent], name=row.name, row=row, module=self)
        self.lights = [LightFunction.standing(classes[row.parent], row, self) for row in self.sketch.items]
        return self.lights

    @property
    def obj(self) -> Any:
        return self.real.obj

    @obj.setter
    def obj(self, value: Any) -> None:
        self.real.obj = value

    @property
    def real(self) -> Any:
        if self._real is None:
            self._real = pytest.Module.from_parent(self.parent, path=self.path)
            self._real.stash[LATE] = True
            self._items = {item.nodeid: item for item in self._enlist(self._real)}
            for light in self.lights:
                light.hand_over(self._items.get(light.nodeid))
        return self._real

    def real_items(self) -> Mapping[str, pytest.Item]:
        """The real tests by node id."""
        return self._items if self.real else {}

    def real_class(self, nodeid: str) -> Any:
        chains = (item.listchain() for item in self.real_items().values())
        return next(node for chain in chains for node in chain if node.nodeid == nodeid)

    def __repr__(self) -> str:
        return f"<Module {self.name}>"


class LightClass(pytest.Class):
    """Stands for a class in a light module."""

    def __init__(self, *, row: ClassSketch, module: LightModule, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._row = row
        self._module = module
        _mark(self, module, row.marks, lambda: module.real_class(self.nodeid))

    @property
    def obj(self) -> Any:
        """The class itself, which the real module has under the same names."""
        around: Any = self._module.real if self._row.parent < 0 else self.parent
        return getattr(around.obj, self.name)

    @obj.setter
    def obj(self, value: Any) -> None:
        self._module.real_class(self.nodeid).obj = value

    def __repr__(self) -> str:
        return f"<{self._row.kind} {self.name}>"


class LightFunction(pytest.Function):
    """Stands for a test in a light module.

    It is made without pytest's constructor, which takes five times as long as all else and makes a dozen containers.
    The constructor is called once somebody asks for something that only it gives.
    """

    __hash__ = object.__hash__  # pytest's makes the node id first

    row: ItemSketch
    light_module: LightModule
    given: tuple[pytest.Mark, ...]
    """The marks that it appeared with."""

    @classmethod
    def standing(cls, parent: pytest.Collector, row: ItemSketch, module: LightModule) -> LightFunction:
        """The test of this row."""
        light = cls.__new__(cls)
        light.row = row
        light.light_module = module
        light.name = row.name
        light.parent = parent
        light.config = parent.config
        light.session = parent.session
        light.path = parent.path
        return light

    def _complete(self) -> None:
        """Have pytest's constructor set what it sets, but for what is set already."""
        slots = {name: object.__getattribute__(self, name) for name in _SLOTS if _is_set(self, name)}
        kept = {"keywords": self.keywords, "own_markers": self.own_markers, **self.__dict__, **slots}
        self._whole = True
        pytest.Item.__init__(self, name=self.row.name, parent=self.parent)
        self.originalname = self.row.original
        self.fixturenames = list(self.row.fixtures)
        self.funcargs = {}
        for name, value in kept.items():
            setattr(self, name, value)

    @property
    def is_remarked(self) -> bool:
        """Whether it has other marks than those that it appeared with."""
        own = self.__dict__.get("own_markers")
        return own is not None and tuple(own) != self.given

    def _made_marks(self) -> tuple[pytest.Mark, ...]:
        return tuple(
            _mark_of(self.light_module, number, at, lambda: self.real) for at, number in enumerate(self.row.marks)
        )

    def _made_keywords(self) -> MutableMapping[str, Any]:
        """As those of any node, which hold no more than its name."""
        row, module = self.row, self.light_module
        keywords: MutableMapping[str, Any] = type(module.keywords)(self)  # type: ignore[call-arg]
        keywords.update(dict.fromkeys(row.attributes, True))
        if row.parametrized:
            keywords[row.name.removeprefix(f"{row.original}[").removesuffix("]")] = True
        if row.marks:
            keywords.update((mark.name, mark) for mark in self.given)
        return keywords

    @property
    def location(self) -> tuple[str, int | None, str]:
        return (self.row.path, self.row.line, self.row.domain)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return Path(self.config.rootpath, self.row.path), self.row.line, self.row.domain

    @property
    def real(self) -> Any:
        """The test itself, collected now where it was not."""
        found = self.light_module.real_items().get(self.nodeid)
        if found is None:
            raise LookupError(f"{self.nodeid} is gone, though nothing changed that the tests of its module depend on")
        return found

    def hand_over(self, real: pytest.Item | None) -> None:
        """Give the real test what was said of this one meanwhile."""
        if real is not None:
            given = set(map(id, self.given))
            for mark in self.own_markers:
                if id(mark) not in given:
                    real.add_marker(pytest.MarkDecorator(mark, _ispytest=True))
            real.user_properties.extend(self.user_properties)
            real.extra_keyword_matches.update(self.extra_keyword_matches)

    @property
    def obj(self) -> Any:
        return _Attributes(self.row.attributes) if _asked_by(*_READ_NAMES) else self.real.obj

    @obj.setter
    def obj(self, value: Any) -> None:
        self.real.obj = value

    @property
    def function(self) -> Any:
        return _Attributes(self.row.attributes) if _asked_by(*_READ_NAMES) else self.real.function

    @property
    def instance(self) -> Any:
        return self.real.instance

    @property
    def callspec(self) -> Any:  # type: ignore[override]
        # pytest sorts tests by their wider parameters. One that has such across modules is never light; of the others
        # the sketch keeps the order.
        if not self.row.parametrized or _asked_by("_pytest.fixtures"):
            raise AttributeError("callspec")
        return self.real.callspec

    def setup(self) -> None:
        raise RuntimeError(f"{self.nodeid} was to run in the place of the real test")

    def __getattr__(self, name: str) -> Any:
        made = _MADE.get(name)
        if made is not None:
            value = self.__dict__[name] = made(self)
            return value
        if name in _NEVER or name.startswith("__"):
            raise AttributeError(name)
        if "_whole" not in self.__dict__:
            self._complete()
            return getattr(self, name)
        if name in self.light_module.sketch.held:
            return getattr(self.real, name)
        raise AttributeError(f"{self!r} has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<{self.row.kind} {self.name}>"


_MADE: Final[Mapping[str, Callable[[LightFunction], Any]]] = {
    "given": LightFunction._made_marks,
    "own_markers": lambda light: list(light.given),
    "keywords": LightFunction._made_keywords,
}
"""What many ask for, made without pytest's constructor."""

_NEVER: Final = ("callspec", "row", "light_module")
"""Pytest asks each test four times for the first; a copy has none of the others while it is made."""

_SLOTS: Final = [
    name for each in pytest.Item.__mro__ for name in each.__dict__.get("__slots__", ()) if name != "__dict__"
]


def _is_set(light: LightFunction, slot: str) -> bool:
    try:
        object.__getattribute__(light, slot)
    except AttributeError:
        return False
    return True


class _Attributes:
    """Has attributes of these names, and nothing else."""

    def __init__(self, names: Iterable[str]) -> None:
        self.__dict__.update(dict.fromkeys(names, True))


def _asked_by(*modules: str) -> bool:
    """Whether the code that asks for the attribute belongs to one of these."""
    return sys._getframe(2).f_globals.get("__name__") in modules


def _mark(node: Any, module: LightModule, numbers: Iterable[int], real: Callable[[], Any]) -> None:
    """Give a light node its marks. ``real``: makes the real node."""
    marks = [_mark_of(module, number, at, real) for at, number in enumerate(numbers)]
    node.own_markers.extend(marks)
    node.keywords.update((mark.name, mark) for mark in marks)


def _mark_of(module: LightModule, number: int, at: int, real: Callable[[], Any]) -> Any:
    found = module.marks.get(number)
    if found is None:
        name, arguments = module.sketch.marks[number]
        if arguments is None:
            return LazyMark(name, lambda: real().own_markers[at])
        args, kwargs = unpack(arguments)
        found = module.marks[number] = pytest.Mark(name, args, kwargs, _ispytest=True)
    return found


def _put_on_path(entry: str, mode: str) -> None:
    """As the import of the module would have done: another module may lean on it."""
    if entry not in sys.path:
        sys.path.insert(0 if mode == "prepend" else len(sys.path), entry)
