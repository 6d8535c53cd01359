"""The project of one scenario: its files, its environment, and where it lies now."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.scenarios.language import (
    Append,
    ChangeDirectory,
    CopyCheckout,
    Delete,
    Link,
    MakeDirectory,
    Move,
    Replace,
    Run,
    SetMode,
    SetVariable,
    Step,
    Touch,
    Write,
)

_CONFIGURATIONS = ("pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")
_HOUR_NS = 3_600_000_000_000


class Project:
    """Lies under ``home``; beside it are a directory for temporary files and what the sessions wrote."""

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        self.home = home
        self.root = home / "checkout 1"
        self.directory = "."
        self.temporary = home / "tmp"
        for path in (self.root, self.temporary):
            path.mkdir()
        self.environ = {**environ, "TMPDIR": str(self.temporary), "HOME": str(home)}
        self._checkouts = 1

    def configure(self) -> None:
        """Give the project its own root where the scenario does not."""
        if not any((self.root / name).exists() for name in _CONFIGURATIONS):
            (self.root / "pytest.ini").write_text("[pytest]\n", "utf-8")

    def do(self, step: Step) -> None:  # noqa: PLR0912 - one branch a kind of step
        """Any step but a run. AssertionError where the scenario does not fit the files."""
        match step:
            case Write(path, text, new):
                self._write(self.root / path, text, new=new)
            case Append(path, text):
                with (self.root / path).open("a", encoding="utf-8") as file:
                    file.write(text)
            case Replace():
                self._replace(step)
            case Delete(path):
                self._delete(self.root / path)
            case Touch(path):
                os.utime(self.root / path)
            case Move(path, target):
                (self.root / target).parent.mkdir(parents=True, exist_ok=True)
                (self.root / path).rename(self.root / target)
            case Link(path, target):
                (self.root / path).unlink(missing_ok=True)
                (self.root / path).symlink_to(target)
            case MakeDirectory(path):
                (self.root / path).mkdir(parents=True)
            case SetMode(mode, path):
                (self.root / path).chmod(mode)
            case SetVariable(name, None):
                del self.environ[name]
            case SetVariable(name, str(value)):
                self.environ[name] = value
            case CopyCheckout():
                self._copy()
            case ChangeDirectory(path):
                self.directory = path
            case Run():
                raise AssertionError("a run is not a change")

    def _write(self, path: Path, text: str, *, new: bool) -> None:
        assert path.exists() is not new, f"{path.name} {'exists already' if new else 'does not exist'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def _replace(self, step: Replace) -> None:
        path = self.root / step.path
        before, stat = path.read_text("utf-8"), path.stat()
        assert before.count(step.old) == 1, f"{step.old!r} stands {before.count(step.old)} times in {step.path}"
        path.write_text(before.replace(step.old, step.new), "utf-8")
        if step.same_second:
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def _delete(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

    def _copy(self) -> None:
        self._checkouts += 1
        target = self.home / f"checkout {self._checkouts}"
        shutil.copytree(
            self.root,
            target,
            symlinks=True,
            copy_function=shutil.copyfile,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        for path in target.rglob("*"):
            if path.is_file() and not path.is_symlink() and ".perfcache" not in path.parts:
                os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - _HOUR_NS))
        self.root.rename(self.home / f"left {self._checkouts}")
        self.root = target
