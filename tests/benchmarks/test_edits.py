"""Neutral edits: what a program does stays the same, and taking them back leaves no trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.edits import CONSTANT, PROBE, edited, functions, with_constant, with_probe

SOURCE = '''\
import functools


@functools.cache
def cached(value):
    """Docstring."""
    return value + 1


class Box:
    def open(self):
        def inner():
            return 2

        return inner()

    def one_line(self): return 3
'''


def test_functions_are_found_as_code_objects_name_them() -> None:
    found = {function.qualname: function.first_line for function in functions(SOURCE)}

    assert found == {"cached": 4, "Box.open": 11, "Box.open.<locals>.inner": 12}


def test_a_probe_stands_after_the_docstring_and_changes_no_result() -> None:
    for function in functions(SOURCE):
        text = with_probe(SOURCE, function)
        namespace: dict[str, object] = {}
        exec(compile(f"{text}\nresult = (cached(1), Box().open(), cached.__doc__)", "box.py", "exec"), namespace)
        assert text.count(PROBE) == 1
        assert namespace["result"] == (2, 2, "Docstring.")


def test_a_constant_is_put_at_the_end_once() -> None:
    once = with_constant(SOURCE, 1)

    assert once.endswith(f"\n\n{CONSTANT} = 1\n")
    assert with_constant(once, 2) == once.replace("= 1\n", "= 2\n")


def test_an_edit_is_taken_back_with_the_bytes_and_the_time_also_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "box.py"
    path.write_text("a = 1\n")
    before = path.stat().st_mtime_ns

    def fail() -> None:
        with edited(path, b"a = 2\n"):
            assert path.read_text() == "a = 2\n"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "a = 1\n"
    assert path.stat().st_mtime_ns == before


def test_bytecode_of_the_edited_file_alone_is_removed(tmp_path: Path) -> None:
    path, cache = tmp_path / "box.py", tmp_path / "__pycache__"
    path.write_text("a = 1\n")
    cache.mkdir()
    for name in ("box.cpython-311.pyc", "box.cpython-311-pytest-9.2.0.pyc", "boxes.cpython-311.pyc"):
        (cache / name).touch()

    with edited(path, b"a = 2\n"):
        assert [found.name for found in cache.iterdir()] == ["boxes.cpython-311.pyc"]
