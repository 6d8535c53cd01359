"""Whose items a function assigns: the head of the container in ``head.a.b[key] = value``, found in the bytecode."""

from __future__ import annotations

import opcode
from collections.abc import Iterable, Iterator
from itertools import pairwise
from types import CodeType
from typing import Any, Final, NamedTuple, TypeAlias

KEYS: Final = {"STORE_SUBSCR": 1, "DELETE_SUBSCR": 1, "STORE_SLICE": 2}
"""Instructions that change a container → how many values lie on it on the stack."""
SUBSCRIPTS: Final = frozenset(KEYS)
MUTATORS: Final = frozenset(
    """
    __setitem__ add append appendleft clear discard extend extendleft insert pop popitem popleft put register
    remove set setdefault update
    """.split()
)
"""Methods that change their object."""
_CLASSES: Final = frozenset("bytearray copy deepcopy defaultdict deque dict list object set sorted".split())
"""Names of what makes a new object, beside those that start with a capital."""
DISPLAYS: Final = frozenset(
    """
    BUILD_CONST_KEY_MAP BUILD_LIST BUILD_MAP BUILD_SET DICT_MERGE DICT_UPDATE LIST_EXTEND MAKE_FUNCTION SET_UPDATE
    SET_FUNCTION_ATTRIBUTE
    """.split()
)
"""The last instructions of what makes a new list, dictionary, set or function."""
ENTANGLED: Final = ("JUMP", "FOR_ITER", "SEND", "YIELD", "AWAIT", "COPY", "SWAP", "RERAISE", "WITH", "EXC", "MATCH")
"""Parts of names of instructions that do more than take values from the stack and put one there."""
ATTRIBUTE_SHIFT: Final = 0 if opcode.opmap.get("LOAD_METHOD", 256) < 256 else 1
"""From 3.12 on the lowest bit of LOAD_ATTR's argument says whether a method is loaded."""
_STORE_DEREF: Final = opcode.opmap["STORE_DEREF"]
Variable: TypeAlias = tuple[str, int]
"""How instructions name one: FAST, GLOBAL or DEREF, and their argument."""
_CLOSURES: Final = frozenset(("BUILD_TUPLE", "LOAD_CLOSURE", "PUSH_NULL"))
"""What a new function is given beside its code."""


def _cache_units() -> dict[int, int]:
    """Opcodes → units of inline cache behind them, where there are any. 3.13 goes by name."""
    # The only place where Python tells it; used by `dis` of these versions.
    entries: Any = vars(opcode).get("_inline_cache_entries", {})
    named = entries.items() if isinstance(entries, dict) else zip(opcode.opname, entries, strict=False)
    return {opcode.opmap[name]: units for name, units in named if units}


CACHES: Final = _cache_units()
_CACHE: Final = opcode.opmap["CACHE"]
_EXTENDED_ARG: Final = opcode.opmap["EXTENDED_ARG"]
_NAMES: Final = opcode.opname
_PAIRS: Final = {
    opcode.opmap[name]: parts
    for name, parts in (
        ("LOAD_FAST_LOAD_FAST", ("LOAD_FAST", "LOAD_FAST")),
        ("STORE_FAST_LOAD_FAST", ("STORE_FAST", "LOAD_FAST")),
        ("STORE_FAST_STORE_FAST", ("STORE_FAST", "STORE_FAST")),
    )
    if name in opcode.opmap
}
"""Instructions that came with 3.13 and do the work of two."""
JUMPS: Final = frozenset(opcode.hasjrel)
BACKWARD: Final = frozenset(code for name, code in opcode.opmap.items() if "BACKWARD" in name)
_new: Final = tuple.__new__
"""Of a named tuple it takes half the time that its class takes."""


class Instruction(NamedTuple):
    """One instruction with its whole argument."""

    name: str
    argument: int
    offset: int
    """In bytes, behind its extensions."""
    operation: int
    """The number behind the name."""


def instructions_of(code: CodeType) -> list[Instruction]:
    """The instructions of a function without what belongs to the interpreter."""
    found: list[Instruction] = []
    raw, extended = code.co_code, 0
    for at, operation in enumerate(raw[::2]):
        if operation == _CACHE:
            continue
        argument = extended | raw[2 * at + 1]
        if operation == _EXTENDED_ARG:
            extended = argument << 8
            continue
        extended = 0
        if operation in _PAIRS:
            for name, part in zip(_PAIRS[operation], (argument >> 4, argument & 15), strict=True):
                found.append(_new(Instruction, (name, part, 2 * at, opcode.opmap[name])))
        else:
            found.append(_new(Instruction, (_NAMES[operation], argument, 2 * at, operation)))
    return found


def codes_of(*names: str, prefixes: bool = False) -> tuple[int, ...]:
    """The numbers of the instructions with these names, or whose names start so, as far as this Python has them."""
    return tuple(
        code
        for name, code in opcode.opmap.items()
        if code < 256 and (name.startswith(names) if prefixes else name in names)
    )


class _Load(NamedTuple):
    """The place of a load; ``inside``: whether attributes or items are taken of what it gives."""

    at: int
    inside: bool


_NEW: Final = _Load(-1, inside=False)
"""Stands for something that was not there before."""


class Containers(NamedTuple):
    """Where what was there before is loaded of which a container is changed.

    ``heads``: places of loads; None: it may be any.
    """

    heads: frozenset[int] | None

    @classmethod
    def of(cls, code: CodeType, instructions: list[Instruction]) -> Containers:
        found = _loads_of(instructions, _changing_calls(code, instructions))
        return cls(None if found is None else _sources(code, instructions, found))

    def changes(self, at: int) -> bool:
        """Whether the load at this place may be the head of a container that is changed."""
        return self.heads is None or at in self.heads


def heads_of(instructions: list[Instruction]) -> frozenset[int] | None:
    """Where the containers are loaded of which an item is assigned; None where that is not clear."""
    found = _loads_of(instructions)
    return None if found is None else frozenset(load.at for load in found)


def _loads_of(instructions: list[Instruction], calls: Iterable[int] = ()) -> set[_Load] | None:
    """``calls``: where methods are loaded that change what is on top of the stack."""
    places = [(at, KEYS[one.name]) for at, one in enumerate(instructions) if one.name in KEYS]
    places += ((at, 0) for at in calls)
    if not places:
        return set()
    targets = jump_targets(instructions)
    found: set[_Load] = set()
    for at, values in places:
        load = _head(instructions, at, values)
        if load is None or is_joined(targets, instructions[load.at], instructions[at]):
            return None  # or one of several that may be the container
        found.add(load)
    return found


def _changing_calls(code: CodeType, instructions: list[Instruction]) -> Iterator[int]:
    """Where a method that changes its object is taken of an item, as in ``found[key].append``."""
    for at, (before, one) in enumerate(pairwise(instructions), 1):
        if before.name == "BINARY_SUBSCR" and is_method(one) and name_of(code, one) in MUTATORS:
            yield at


def local_of(one: Instruction) -> int | None:
    """The number of the variable that is on top of the stack after this instruction.

    What functions inside this one use too, a comprehension of 3.11 among them, is loaded otherwise, by the same number.
    """
    return one.argument if one.name.startswith(("LOAD_FAST", "LOAD_DEREF")) else None


def is_method(one: Instruction) -> bool:
    """Whether a method is loaded to be called at once."""
    return one.name == "LOAD_METHOD" or (one.name == "LOAD_ATTR" and bool(ATTRIBUTE_SHIFT and one.argument & 1))


def jump_targets(instructions: Iterable[Instruction]) -> list[int]:
    """Offsets to which jumps lead; all are relative since 3.11."""
    return [one.offset + 2 + 2 * _distance(one) for one in instructions if one.operation in JUMPS]


def _distance(jump: Instruction) -> int:
    """From the next instruction, in units; what is cached behind the jump counts."""
    return CACHES.get(jump.operation, 0) + (-jump.argument if jump.operation in BACKWARD else jump.argument)


def is_joined(targets: list[int], first: Instruction, last: Instruction) -> bool:
    """Whether a jump leads in between: then the first may be one of several alternatives."""
    return any(first.offset < target <= last.offset for target in targets)


def name_of(code: CodeType, one: Instruction) -> str:
    """The global, attribute or method that is loaded; the lowest bits of the argument say what else is."""
    shift = 1 if one.name == "LOAD_GLOBAL" else ATTRIBUTE_SHIFT if one.name == "LOAD_ATTR" else 0
    return code.co_names[one.argument >> shift]


def start_of(instructions: list[Instruction], end: int) -> int | None:
    """Where the expression starts whose value is on top of the stack before ``end``; None where that is not clear."""
    wanted, height = -1, 0
    for at in range(end - 1, -1, -1):
        one = instructions[at]
        if any(part in one.name for part in ENTANGLED):
            return None
        height -= effect(one)
        if height <= wanted:
            return at if height == wanted else None
    return None


def effect(one: Instruction) -> int:
    """What it does to the height of the stack."""
    return opcode.stack_effect(one.operation, one.argument if one.operation >= opcode.HAVE_ARGUMENT else None)


def _head(instructions: list[Instruction], end: int, values: int) -> _Load | None:
    """The load behind which only attributes and items are taken, until ``values`` lie on what these lead to."""
    at: int | None = end
    for _ in range(values):
        at = None if at is None else start_of(instructions, at)
    first = at
    while at:
        last = instructions[at - 1]
        if last.name == "LOAD_ATTR" and effect(last) == 0:
            at -= 1
        elif last.name == "BINARY_SUBSCR":
            at = start_of(instructions, at - 1)
        else:
            return _Load(at - 1, at != first)
    return None


def _sources(code: CodeType, instructions: list[Instruction], heads: set[_Load]) -> frozenset[int] | None:
    """The loads of what was there before behind these loads: what a variable is bound to, unless it is new each time.

    None where that is not clear: the variable may be another name for something, or what is changed lies in something
    new, which may hold what was there before.
    """
    stores: dict[Variable, list[int]] = {}
    for at, one in enumerate(instructions):
        if one.name.startswith("STORE_"):
            stores.setdefault((one.name[6:], one.argument), []).append(at)
    targets = jump_targets(instructions) if heads else []
    found: set[int] = set()
    waiting, seen = list(heads), set(heads)
    while waiting:
        head = waiting.pop()
        variable = _variable(instructions[head.at])
        if variable is None or (variable in stores and _is_bound_elsewhere(code, variable)):
            return None
        if variable not in stores and head.inside and _is_new(code, variable):
            return None
        if variable not in stores or variable[1] < arguments_of(code):
            found.add(head.at)
        for store in stores.get(variable, ()):
            source = _bound_to(code, instructions, store, targets)
            if source is None or (source is _NEW and head.inside):
                return None
            load = _Load(source.at, source.inside or head.inside)
            if source is not _NEW and load not in seen:
                waiting.append(load)
                seen.add(load)
    return frozenset(found)


def _is_new(code: CodeType, variable: Variable) -> bool:
    """Whether this is ``*a`` or ``**k``, of which the caller holds only what is in it."""
    return variable[0] == "FAST" and variable[1] >= arguments_of(code)


def _variable(head: Instruction) -> Variable | None:
    if head.name == "LOAD_GLOBAL":
        return "GLOBAL", head.argument >> 1
    kind = head.name.removesuffix("_CHECK").removeprefix("LOAD_")
    return (kind, head.argument) if kind in ("FAST", "DEREF") else None


def _is_bound_elsewhere(code: CodeType, variable: Variable) -> bool:
    """Whether other functions may bind the variable as well."""
    kind, number = variable
    if kind == "FAST":
        return False
    name = outer_name(code, number) if kind == "DEREF" else ""
    if name not in code.co_cellvars or name in code.co_varnames:
        return True
    inner = [one for one in code.co_consts if isinstance(one, CodeType) and name in one.co_freevars]
    return any(_STORE_DEREF in one.co_code[::2] or any(isinstance(c, CodeType) for c in one.co_consts) for one in inner)


def outer_name(code: CodeType, argument: int) -> str:
    """The name behind the argument of LOAD_DEREF: cells that are arguments too are counted once (3.11 and later)."""
    merged = [name for name in code.co_cellvars if name in code.co_varnames]
    order = [*code.co_varnames, *(name for name in code.co_cellvars if name not in merged), *code.co_freevars]
    return order[argument] if argument < len(order) else order[-1]


def arguments_of(code: CodeType) -> int:
    """How many of the first variables are arguments of which the caller may hold the value: not ``*a`` nor ``**k``."""
    return code.co_argcount + code.co_kwonlyargcount


def _bound_to(code: CodeType, instructions: list[Instruction], store: int, targets: list[int]) -> _Load | None:
    """The load behind what is stored here, `_NEW` where that is new; None where it is not clear."""
    if comprehension_before(instructions, store) is not None:
        return _NEW
    start = start_of(instructions, store)
    if start is None or is_joined(targets, instructions[start], instructions[store]):
        return None
    if instructions[store - 1].name in DISPLAYS or _calls_comprehension(code, instructions[start:store]):
        return _NEW
    return _head(instructions, store, 0)


def _calls_comprehension(code: CodeType, instructions: list[Instruction]) -> bool:
    """Whether the value of these instructions is that of a comprehension, as it is made before 3.12."""
    made = next((at for at, one in enumerate(instructions) if one.name == "MAKE_FUNCTION"), 0)
    before = {one.name for one in instructions[: max(made - 1, 0)]}
    if not (made and before <= _CLOSURES and instructions[-1].name.startswith("CALL")):
        return False
    value = code.co_consts[instructions[made - 1].argument]
    return isinstance(value, CodeType) and value.co_name in ("<dictcomp>", "<listcomp>", "<setcomp>")


def comprehension_before(instructions: list[Instruction], store: int) -> int | None:
    """Where a comprehension ends that runs in place (3.12 and later) and whose value is stored; None where none is."""
    at = store - 1
    while at > 0 and instructions[at].name in ("STORE_FAST", "SWAP", "POP_TOP"):
        at -= 1
    return at if instructions[at].name == "END_FOR" else None


def is_found(code: CodeType, instructions: list[Instruction], at: int) -> bool:
    """Whether what is on top of the stack after this instruction may have been there before, and is no argument."""
    one = instructions[at]
    if one.name == "LOAD_ATTR":
        return name_of(code, one) == "__class__"
    if local_of(one) is None:
        return one.name.startswith("CALL")
    if one.argument < arguments_of(code) or outer_name(code, one.argument) in code.co_freevars:
        return False
    kind = one.name[5:10].rstrip("_")
    stores = [place for place, other in enumerate(instructions) if other[:2] == (f"STORE_{kind}", one.argument)]
    return not all(_is_fresh(code, instructions, store) for store in stores)


def _is_fresh(code: CodeType, instructions: list[Instruction], store: int) -> bool:
    """Whether a new object is stored here: what a class makes, by its name, or an exception that was caught."""
    before = instructions[store - 1].name
    if before in DISPLAYS or before.startswith("POP_JUMP") or comprehension_before(instructions, store) is not None:
        return True
    start = start_of(instructions, store) if before.startswith("CALL") else None
    if start is None:
        return False
    called = instructions[start + (instructions[start].name == "PUSH_NULL")]
    name = name_of(code, called) if called.name == "LOAD_GLOBAL" else ""
    return name.lstrip("_")[:1].isupper() or name in _CLASSES
