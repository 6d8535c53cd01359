"""The cache directory appears as a whole."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from pytest_perfcache.store.directory import SCHEMA, prepare_directory


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_directory_explains_itself_and_stays_out_of_version_control(tmp_path: Path) -> None:
    versioned = prepare_directory(tmp_path / ".perfcache")

    assert versioned == tmp_path / ".perfcache" / f"v{SCHEMA}"
    assert names(tmp_path) == [".perfcache"]
    assert names(versioned.parent) == [".gitignore", "CACHEDIR.TAG", "README.md", versioned.name]
    assert (versioned.parent / ".gitignore").read_text().splitlines()[-1] == "*"
    tag = (versioned.parent / "CACHEDIR.TAG").read_text()
    assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_a_directory_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".perfcache").mkdir()
    (tmp_path / ".perfcache" / "mine").touch()

    first, second = (prepare_directory(tmp_path / ".perfcache") for _ in range(2))

    assert first == second
    assert names(first.parent) == ["mine", first.name]


def test_all_who_create_it_at_once_succeed_and_leave_nothing_behind(tmp_path: Path) -> None:
    barrier = Barrier(8)

    def prepare(_: int) -> Path:
        barrier.wait()
        return prepare_directory(tmp_path / ".perfcache")

    with ThreadPoolExecutor(8) as pool:
        versioned = set(pool.map(prepare, range(8)))

    assert len(versioned) == 1
    assert names(tmp_path) == [".perfcache"]
    assert len(names(tmp_path / ".perfcache")) == 4


def test_who_loses_the_race_uses_the_winner_s_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def lose(self: Path, target: Path) -> Path:
        if not target.exists():
            target.mkdir()
            (target / "winner").touch()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", lose)
    versioned = prepare_directory(tmp_path / ".perfcache")

    assert names(tmp_path) == [".perfcache"]
    assert names(versioned.parent) == [versioned.name, "winner"]


def test_a_file_in_its_place_is_an_error_and_survives(tmp_path: Path) -> None:
    (tmp_path / ".perfcache").write_text("mine")

    with pytest.raises(OSError, match="perfcache"):
        prepare_directory(tmp_path / ".perfcache")

    assert (tmp_path / ".perfcache").read_text() == "mine"
    assert names(tmp_path) == [".perfcache"]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, data: str, encoding: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError, match="No space left"):
        prepare_directory(tmp_path / ".perfcache")

    assert names(tmp_path) == []
