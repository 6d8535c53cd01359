"""What the process finds that marks modules before they are imported."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

import pytest

from pytest_perfcache.trace.ahead import code_of, main, sources
from pytest_perfcache.trace.codestore import CodeStore


@pytest.fixture(autouse=True)
def _compiled_files_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


def write(root: Path, *paths: str) -> None:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"def asked():\n    return {path!r}\n")


def imported(file: Path) -> CodeType:
    code = SourceFileLoader(file.stem, str(file)).get_code(file.stem)
    assert code is not None
    return code


def test_the_project_s_files_are_found_and_no_others(tmp_path: Path) -> None:
    write(tmp_path, "src/shop/cart.py", "tests/test_cart.py", "conftest.py", "setup.py")
    write(tmp_path, "env/lib/six.py", "node_modules/a.py", ".tox/b.py", "lib/site-packages/c.py", "build/lib/shop.py")
    (tmp_path / "env" / "pyvenv.cfg").touch()
    (tmp_path / "notes.txt").touch()
    assert sorted(sources(str(tmp_path))) == ["conftest.py", "setup.py", "src/shop/cart.py", "tests/test_cart.py"]


def test_a_module_that_was_never_compiled_is_compiled_as_an_import_would(tmp_path: Path) -> None:
    write(tmp_path, "cart.py")
    assert code_of(str(tmp_path / "cart.py"), pytest.__version__) == imported(tmp_path / "cart.py")


def test_a_compiled_module_is_taken_with_the_name_that_it_has_now(tmp_path: Path) -> None:
    write(tmp_path, "before/cart.py")
    imported(tmp_path / "before" / "cart.py")
    (tmp_path / "before").rename(tmp_path / "now")
    found = code_of(str(tmp_path / "now" / "cart.py"), pytest.__version__)
    assert found is not None
    assert found.co_filename == str(tmp_path / "now" / "cart.py")
    assert found == imported(tmp_path / "now" / "cart.py")


def test_a_compiled_module_that_is_older_than_its_source_is_not_taken(tmp_path: Path) -> None:
    write(tmp_path, "cart.py")
    file = tmp_path / "cart.py"
    imported(file)
    file.write_text("def asked():\n    return 2\n")
    os.utime(file, (1, 1))
    assert code_of(str(file), pytest.__version__) == compile(file.read_text(), str(file), "exec", dont_inherit=True)


def test_a_test_module_is_taken_as_pytest_rewrote_it(tmp_path: Path) -> None:
    write(tmp_path, "tests/test_cart.py")
    file = tmp_path / "tests" / "test_cart.py"
    file.write_text("def test_cart():\n    assert [] == list()\n")
    assert code_of(str(file), pytest.__version__) is None
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:perfcache", str(file)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHONDONTWRITE")}
    subprocess.run(command, check=True, cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL)
    found = code_of(str(file), pytest.__version__)
    assert found is not None
    assert "@pytest_ar" in found.co_names
    file.write_text("def test_cart():\n    assert [] != list()\n")
    assert code_of(str(file), pytest.__version__) is None


@pytest.mark.parametrize("text", ["def asked(:\n", "\0", "# coding: none\n"])
def test_a_file_that_is_no_python_is_left_alone(text: str, tmp_path: Path) -> None:
    (tmp_path / "cart.py").write_text(text)
    assert code_of(str(tmp_path / "cart.py"), pytest.__version__) is None


def test_a_compiled_file_that_is_damaged_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path, "cart.py")
    imported(tmp_path / "cart.py")
    compiled = Path(importlib.util.cache_from_source(str(tmp_path / "cart.py")))
    compiled.write_bytes(compiled.read_bytes()[:20])
    assert code_of(str(tmp_path / "cart.py"), pytest.__version__) is None


def test_it_marks_all_modules_once_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, home = tmp_path / "project", tmp_path / "home"
    write(root, "a.py", "b.py", "tests/helper.py")
    home.mkdir()
    monkeypatch.setattr(sys, "argv", ["", str(home), str(root), pytest.__version__, str(os.getpid())])
    assert CodeStore(str(home)).is_new
    main()
    store = CodeStore(str(home))
    assert not store.is_new
    assert all(store.get(path, imported(root / path)) is not None for path in ("a.py", "b.py", "tests/helper.py"))
    before = {file: file.stat().st_mtime_ns for file in (home / "code").iterdir()}
    write(root, "c.py")
    main()
    after = {file: file.stat().st_mtime_ns for file in (home / "code").iterdir()}
    assert sum(after[file] != when for file, when in before.items()) <= 1  # the note that all is kept
    assert len(after) == len(before) + 1


def test_it_ends_when_nobody_waits_for_it_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    write(tmp_path, "a.py", "b.py")
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path), str(tmp_path), pytest.__version__, str(gone.pid)])
    main()
    assert CodeStore(str(tmp_path)).is_new
    assert len([*(tmp_path / "code").iterdir()]) == 1
