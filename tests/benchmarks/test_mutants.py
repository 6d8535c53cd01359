"""Every mutant is one change of the named kind, leaves valid Python and keeps other functions on their lines."""

from __future__ import annotations

import ast
from itertools import islice

import pytest

from benchmarks.edits import functions
from benchmarks.soundness.mutants import in_data, in_source, sequence

SOURCE = b'''\
"""Module."""
LIMIT = 3
NAMES = ("a", "b")


class Cart:
    rate: int = 7

    def total(self, extra=1):
        """Docstring."""
        if extra > LIMIT:
            raise ValueError(
                "too much"
            )
        self.last = extra
        return self.rate * extra


def later(value: "int" = 2) -> "str":
    return f"{value}"
'''


def kinds() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for mutant in in_source("shop.py", SOURCE):
        found.setdefault(mutant.kind, []).append(mutant.text.rstrip("\n"))
    return found


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("module constant", ["(3 + 1)", "'a_'", "'b_'"]),
        ("class attribute", ["(7 + 1)"]),
        ("default", ["(1 + 1)", "(2 + 1)"]),
        ("comparison", ["(extra <= LIMIT)"]),
        ("arithmetic", ["(self.rate + extra)"]),
        ("return", ["return None", "return None"]),
        ("statement", ["pass", "pass"]),
        ("constant in body", ["'too much_'"]),
    ],
)
def test_each_kind_of_place_is_found_and_nothing_else(kind: str, texts: list[str]) -> None:
    assert kinds()[kind] == texts


def test_docstrings_annotations_and_f_strings_are_left_alone() -> None:
    texts = " ".join(text for found in kinds().values() for text in found)

    assert "Docstring" not in texts
    assert "Module" not in texts
    assert "int_" not in texts
    assert "str_" not in texts


def test_a_mutant_differs_parses_and_moves_no_line() -> None:
    for mutant in in_source("shop.py", SOURCE):
        mutated = mutant.apply(SOURCE)
        assert mutated != SOURCE
        ast.parse(mutated)
        assert mutated.count(b"\n") == SOURCE.count(b"\n")


def test_a_mutant_names_the_function_around_it() -> None:
    lines = {function.first_line for function in functions(SOURCE.decode())}
    inside = {"comparison", "arithmetic", "return", "statement", "constant in body"}

    for mutant in in_source("shop.py", SOURCE):
        assert (mutant.function in lines) is (mutant.kind in inside)


def test_a_longer_sequence_extends_a_shorter_one_and_takes_kinds_in_turn() -> None:
    found = in_source("shop.py", SOURCE)
    whole = list(sequence(found, 5, lambda _: True))

    assert list(islice(sequence(reversed(found), 5, lambda _: True), 4)) == whole[:4]
    assert len({mutant.kind for mutant in whole[:8]}) == 8
    assert sorted(map(repr, whole)) == sorted(map(repr, found))


def test_a_data_file_changes_in_one_letter_and_keeps_its_size() -> None:
    (mutant,) = in_data("tax.json", b'{"rate": 19}', 1)
    mutated = mutant.apply(b'{"rate": 19}')

    assert len(mutated) == 12
    assert sum(one != other for one, other in zip(mutated, b'{"rate": 19}', strict=True)) == 1


def test_a_data_file_without_letters_has_no_mutant() -> None:
    assert in_data("empty", b"--\xff--", 1) == []
