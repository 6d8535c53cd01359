"""Whose items a function assigns: the head of the container in ``head.a.b[key] = value``, found in the bytecode."""

from __future__ import annotations

import opcode
from types import CodeType
from typing import Final, NamedTuple

KEYS: Final = {"STORE_SUBSCR": 1, "DELETE_SUBSCR": 1, "STORE_SLICE": 2}
"""Instructions that change a container → how many values lie on it on the stack."""
SUBSCRIPTS: Final = frozenset(KEYS)
_ENTANGLED: Final = ("JUMP", "FOR_ITER", "SEND", "YIELD", "AWAIT", "COPY", "SWAP", "RERAISE", "WITH", "EXC", "MATCH")
"""Parts of names of instructions that do more than take values from the stack and put one there."""
ATTRIBUTE_SHIFT: Final = 0 if opcode.opmap.get("LOAD_METHOD", 256) < 256 else 1
"""From 3.12 on the lowest bit of LOAD_ATTR's argument says whether a method is loaded."""
_CACHE: Final = opcode.opmap["CACHE"]
_EXTENDED_ARG: Final = opcode.opmap["EXTENDED_ARG"]
_PAIRS: Final = {
    "LOAD_FAST_LOAD_FAST": ("LOAD_FAST", "LOAD_FAST"),
    "STORE_FAST_LOAD_FAST": ("STORE_FAST", "LOAD_FAST"),
    "STORE_FAST_STORE_FAST": ("STORE_FAST", "STORE_FAST"),
}
"""Instructions that came with 3.13 and do the work of two."""


class Instruction(NamedTuple):
    """One instruction with its whole argument."""

    name: str
    argument: int
    offset: int
    """In bytes, behind its extensions."""


def instructions_of(code: CodeType) -> list[Instruction]:
    """The instructions of a function without what belongs to the interpreter."""
    found: list[Instruction] = []
    raw, extended = code.co_code, 0
    for at in range(0, len(raw), 2):
        operation = raw[at]
        if operation == _CACHE:
            continue
        argument = extended | raw[at + 1]
        if operation == _EXTENDED_ARG:
            extended = argument << 8
            continue
        extended = 0
        first, second = _PAIRS.get(opcode.opname[operation], ("", ""))
        if first:
            found += (Instruction(first, argument >> 4, at), Instruction(second, argument & 15, at))
        else:
            found.append(Instruction(opcode.opname[operation], argument, at))
    return found


class Containers(NamedTuple):
    """Which loads stand at the head of a container that is changed. ``heads``: their places; None: it may be any."""

    heads: frozenset[int] | None

    @classmethod
    def of(cls, code: CodeType, instructions: list[Instruction]) -> Containers:
        stored = {(one.name[6:], one.argument) for one in instructions if one.name.startswith("STORE_")}
        heads = heads_of(code, instructions)
        if heads is None or not all(_stands_for_itself(instructions[head], stored) for head in heads):
            return cls(None)
        return cls(heads)

    def changes(self, at: int) -> bool:
        """Whether the load at this place may be the head of a container that is changed."""
        return self.heads is None or at in self.heads


def heads_of(code: CodeType, instructions: list[Instruction]) -> frozenset[int] | None:
    """Where the containers that are changed are loaded; None where that is not clear."""
    places = [at for at, one in enumerate(instructions) if one.name in KEYS]
    if not places:
        return frozenset()
    targets = jump_targets(code)
    heads: set[int] = set()
    for at in places:
        head = _head(instructions, at, KEYS[instructions[at].name])
        if head is None or is_joined(targets, instructions[head], instructions[at]):
            return None  # or one of several that may be the container
        heads.add(head)
    return frozenset(heads)


def jump_targets(code: CodeType) -> list[int]:
    """Offsets to which jumps lead."""
    from dis import findlabels  # takes 3 ms, and few child processes have such code

    return findlabels(code.co_code)  # type: ignore[arg-type] # typeshed says code, `dis` takes the bytes


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
        if any(part in one.name for part in _ENTANGLED):
            return None
        height -= _effect(one)
        if height <= wanted:
            return at if height == wanted else None
    return None


def _effect(one: Instruction) -> int:
    """What it does to the height of the stack."""
    operation = opcode.opmap[one.name]
    return opcode.stack_effect(operation, one.argument if operation >= opcode.HAVE_ARGUMENT else None)


def _head(instructions: list[Instruction], end: int, values: int) -> int | None:
    """The load behind which only attributes and items are taken, until ``values`` lie on what these lead to."""
    at: int | None = end
    for _ in range(values):
        at = None if at is None else start_of(instructions, at)
    while at:
        last = instructions[at - 1]
        if last.name == "LOAD_ATTR" and _effect(last) == 0:
            at -= 1
        elif last.name == "BINARY_SUBSCR":
            at = start_of(instructions, at - 1)
        else:
            return at - 1
    return None


def _stands_for_itself(head: Instruction, stored: set[tuple[str, int]]) -> bool:
    """Whether this loads a global or an argument, and the function does not bind it to what another one holds."""
    if head.name == "LOAD_GLOBAL":
        return ("GLOBAL", head.argument >> 1) not in stored
    return head.name in ("LOAD_FAST", "LOAD_FAST_CHECK") and ("FAST", head.argument) not in stored
