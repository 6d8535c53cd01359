"""Packages that are really installed, ``.pth`` files and extension modules, in a virtual environment of their own."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

import pytest_perfcache

_COMPILER = shutil.which("cc")
_HEADER = Path(sysconfig.get_path("include"), "Python.h")
_EXTENSION = """
#include <Python.h>
static struct PyModuleDef shop = {PyModuleDef_HEAD_INIT, "shop", NULL, 0, NULL};
PyMODINIT_FUNC PyInit_shop(void) {
    PyObject *module = PyModule_Create(&shop);
    PyModule_AddIntConstant(module, "PRICE", %d);
    return module;
}
"""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that also sees this one, and a project tested in it."""

    root: Path
    python: Path
    site: Path

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text, "utf-8")

    def install(self, name: str, version: str, files: dict[str, str], entry_points: str = "") -> None:
        """As an installer does it: the files, then the metadata, RECORD last. An earlier version is removed."""
        for before in self.site.glob(f"{name}-*.dist-info"):
            shutil.rmtree(before)
        metadata = f"{name}-{version}.dist-info"
        texts = {**files, f"{metadata}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"}
        if entry_points:
            texts[f"{metadata}/entry_points.txt"] = entry_points
        lines = []
        for path, text in texts.items():
            (self.site / path).parent.mkdir(parents=True, exist_ok=True)
            (self.site / path).write_text(text, "utf-8")
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
            lines.append(f"{path},sha256={digest},{len(text)}\n")
        (self.site / metadata / "RECORD").write_text("".join(lines), "utf-8")
        shutil.rmtree(self.site / "__pycache__", ignore_errors=True)

    def run(self) -> dict[str, str]:
        """One session: how each test ended, by its name; a hit is ``cached``."""
        report = self.root.parent / "report.json"
        environ = {"PATH": os.environ["PATH"], "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run(
            [self.python, "-m", "pytest", "-q", "-p", "perfcache", f"--perfcache-report=json:{report}"],
            cwd=self.root,
            env=environ,
            check=False,
            capture_output=True,
        )
        tests = json.loads(report.read_text("utf-8"))["tests"]
        return {
            nodeid.rpartition("::")[2]: "cached" if told["verdict"] == "hit" else told["outcome"]
            for nodeid, told in tests.items()
        }


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once; it finds pytest where these tests find it."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, symlinks=True)
    site = next(home.glob("lib/*/site-packages"))
    repository = Path(pytest_perfcache.__file__).parent.parent
    outer = sysconfig.get_path("purelib")
    (site / "outer.pth").write_text(f"{repository}\nimport site; site.addsitedir({outer!r})\n", "utf-8")
    return home


@pytest.fixture
def project(environment: Path, tmp_path: Path) -> Environment:
    root = tmp_path / "project"
    root.mkdir()
    (root / "pytest.ini").write_text("[pytest]\n", "utf-8")
    site = next(environment.glob("lib/*/site-packages"))
    return Environment(root, environment / "bin" / "python", site)


def test_an_upgrade_runs_the_tests_that_import_the_package(project: Environment) -> None:
    project.install("shop", "1.0", {"shop.py": "PRICE = 1\n"})
    project.write("test_a.py", "import shop\n\ndef test_1():\n    assert shop.PRICE == 1\n")
    project.write("test_b.py", "def test_other():\n    pass\n")
    assert project.run() == {"test_1": "passed", "test_other": "passed"}
    project.install("unrelated", "1.0", {"unrelated.py": "PRICE = 1\n"})
    assert project.run() == {"test_1": "cached", "test_other": "cached"}
    project.install("shop", "2.0", {"shop.py": "PRICE = 2\n"})
    assert project.run() == {"test_1": "failed", "test_other": "cached"}
    project.install("shop", "1.0", {"shop.py": "PRICE = 1\n"})
    assert project.run() == {"test_1": "cached", "test_other": "cached"}


def test_an_edit_in_place_is_noticed(project: Environment) -> None:
    project.install("shop", "1.0", {"shop.py": "PRICE = 1\n"})
    project.write("test_a.py", "import shop\n\ndef test_1():\n    assert shop.PRICE == 1\n")
    assert project.run() == {"test_1": "passed"}
    (project.site / "shop.py").write_text("PRICE = 1111\n", "utf-8")
    assert project.run() == {"test_1": "failed"}


def test_a_dependency_of_a_package_counts(project: Environment) -> None:
    project.install("rates", "1.0", {"rates.py": "RATE = 1\n"})
    project.install("shop", "1.0", {"shop.py": "from rates import RATE as PRICE\n"})
    metadata = next(project.site.glob("shop-*.dist-info")) / "METADATA"
    metadata.write_text(metadata.read_text("utf-8") + "Requires-Dist: rates\n", "utf-8")
    project.write("test_a.py", "import shop\n\ndef test_1():\n    assert shop.PRICE == 1\n")
    assert project.run() == {"test_1": "passed"}
    project.install("rates", "2.0", {"rates.py": "RATE = 2\n"})
    assert project.run() == {"test_1": "failed"}


def test_entry_points_appear_change_and_disappear(project: Environment) -> None:
    consumer = (
        "from importlib.metadata import entry_points\n\n"
        "def values():\n    return [point.value for point in entry_points(group='shop.plugins')]\n\n"
        "def test_1():\n    assert values() == []\n\n"
        "def test_2():\n    assert values() in ([], ['cup:PRICE'])\n\n"
        "def test_other():\n    pass\n"
    )
    project.write("test_a.py", consumer)
    assert set(project.run().values()) == {"passed"}
    assert set(project.run().values()) == {"cached"}
    project.install("cup", "1.0", {"cup.py": "PRICE = 1\n"}, "[shop.plugins]\none = cup:PRICE\n")
    assert project.run() == {"test_1": "failed", "test_2": "passed", "test_other": "cached"}
    project.install("cup", "1.1", {"cup.py": "PRICE = 1\n"}, "[shop.plugins]\none = cup:COST\n")
    assert project.run() == {"test_1": "failed", "test_2": "failed", "test_other": "cached"}
    project.install("cup", "1.2", {"cup.py": "PRICE = 1\n"})
    assert set(project.run().values()) == {"cached"}


def test_a_path_that_a_pth_file_adds_counts(project: Environment) -> None:
    for number in (1, 2):
        place = project.root.parent / f"place{number}"
        place.mkdir()
        (place / "loose.py").write_text(f"PRICE = {number}\n", "utf-8")
    (project.site / "extra.pth").write_text(f"{project.root.parent}/place1\n", "utf-8")
    project.write("test_a.py", "import loose\n\ndef test_1():\n    assert loose.PRICE == 1\n")
    project.write("test_b.py", "def test_other():\n    pass\n")
    try:
        assert project.run() == {"test_1": "passed", "test_other": "passed"}
        assert project.run() == {"test_1": "cached", "test_other": "cached"}
        (project.root.parent / "place1" / "loose.py").write_text("PRICE = 11\n", "utf-8")
        assert project.run() == {"test_1": "failed", "test_other": "cached"}
        (project.root.parent / "place1" / "loose.py").write_text("PRICE = 1\n", "utf-8")
        assert project.run() == {"test_1": "cached", "test_other": "cached"}
        (project.site / "extra.pth").write_text(f"{project.root.parent}/place2\n", "utf-8")
        assert project.run() == {"test_1": "failed", "test_other": "cached"}
    finally:
        (project.site / "extra.pth").unlink()


@pytest.mark.skipif(_COMPILER is None or not _HEADER.exists(), reason="needs a C compiler and Python's headers")
def test_an_extension_module_of_the_project_that_is_built_again(project: Environment) -> None:
    suffix = sysconfig.get_config_var("EXT_SUFFIX")

    def build(price: int) -> None:
        assert _COMPILER is not None
        project.write("shop.c", _EXTENSION % price)
        target = project.root / f"shop{suffix}"
        target.unlink(missing_ok=True)
        include = sysconfig.get_path("include")
        command = [_COMPILER, "-shared", "-fPIC", "-I", include, str(project.root / "shop.c"), "-o", str(target)]
        subprocess.run(command, check=True)

    build(1)
    project.write("test_a.py", "import shop\n\ndef test_1():\n    assert shop.PRICE == 1\n")
    project.write("test_b.py", "def test_other():\n    pass\n")
    assert project.run() == {"test_1": "passed", "test_other": "passed"}
    build(2)
    assert project.run() == {"test_1": "failed", "test_other": "cached"}
    build(1)
    assert project.run() == {"test_1": "cached", "test_other": "cached"}


def test_the_environment_is_really_another_one(project: Environment) -> None:
    found = subprocess.run(
        [project.python, "-c", "import sys; print(sys.prefix)"], capture_output=True, check=True, text=True
    )
    assert found.stdout.strip() != sys.prefix
