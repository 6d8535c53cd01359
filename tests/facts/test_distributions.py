"""Installed distributions as facts, over directories made for the purpose."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_perfcache.facts.digest import ABSENT
from pytest_perfcache.facts.distributions import Distributions, canonical

INSTALLED = 1_700_000_000.0


def install(site: Path, name: str, version: str = "1.0", requires: tuple[str, ...] = (), code: str = "x = 1\n") -> Path:
    """What an installer leaves of a distribution with one module; its directory for metadata."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {r}" for r in requires)]) + "\n")
    module = site / f"{name.replace('-', '_')}.py"
    module.write_text(code)
    rows = [f"{module.name},sha256={abs(hash(code))},{len(code)}", f"{info.name}/INSTALLER,sha256=x,4"]
    rows += [f"__pycache__/{module.stem}.cpython-311.pyc,,", "../../bin/tool,sha256=y,10", f"{info.name}/RECORD,,"]
    (info / "RECORD").write_text("\n".join(rows) + "\n")
    (info / "INSTALLER").write_text("pip\n")
    for file in (module, *info.iterdir()):
        os.utime(file, (INSTALLED, INSTALLED))
    return info


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


def look(site: Path, name: str = "shop") -> bytes:
    return Distributions([str(site)]).fingerprint(name)


def test_the_same_distribution_installed_twice_is_the_same_fact(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    install(one, "shop")
    info = install(two, "shop")
    (info / "INSTALLER").write_text("another installer\n")
    for file in two.rglob("*"):
        os.utime(file, (INSTALLED + 5e6, INSTALLED + 5e6))

    assert look(one) == look(two) != ABSENT


@pytest.mark.parametrize(("version", "code"), [("1.1", "x = 1\n"), ("1.0", "x = 2\n")])
def test_another_version_or_another_build_is_another_fact(tmp_path: Path, version: str, code: str) -> None:
    install(tmp_path / "one", "shop")
    install(tmp_path / "two", "shop", version, code=code)

    assert look(tmp_path / "one") != look(tmp_path / "two")


def test_an_edit_in_place_is_seen(site: Path) -> None:
    install(site, "shop")
    before = look(site)
    (site / "shop.py").write_text("x = 2\n")
    edited = look(site)
    (site / "shop.py").write_text("x = 3\n")

    assert len({before, edited, look(site)}) == 3


def test_an_edit_with_an_old_time_stamp_and_another_size_is_seen(site: Path) -> None:
    install(site, "shop")
    before = look(site)
    (site / "shop.py").write_text("x = 1000\n")
    os.utime(site / "shop.py", (INSTALLED, INSTALLED))

    assert look(site) != before


def test_a_file_that_is_gone_is_seen(site: Path) -> None:
    install(site, "shop")
    before = look(site)
    (site / "shop.py").unlink()

    assert look(site) != before


def test_bytecode_and_scripts_do_not_count(site: Path) -> None:
    info = install(site, "shop")
    before = look(site)
    record = (info / "RECORD").read_text().replace(".pyc,,", ".pyc,sha256=new,99").replace("/bin/tool", "/bin/other")
    (info / "RECORD").write_text(record)
    os.utime(info / "RECORD", (INSTALLED, INSTALLED))

    assert look(site) == before


def test_what_is_not_installed_is_absent(site: Path) -> None:
    assert look(site, "nothing") == ABSENT


def test_the_first_on_the_path_wins(tmp_path: Path) -> None:
    install(tmp_path / "one", "shop", "1.0")
    install(tmp_path / "two", "shop", "2.0")
    both = Distributions([str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "missing")])

    assert both.fingerprint("shop") == look(tmp_path / "one")


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_without_a_record_the_metadata_tells_versions_apart(site: Path, kind: str) -> None:
    info = site / "shop.egg-info"
    site.mkdir()
    if kind == "directory":
        info.mkdir()
    file = info / "PKG-INFO" if kind == "directory" else info
    file.write_text("Version: 1\n")
    before = look(site)
    file.write_text("Version: 2\n")

    assert ABSENT != before != look(site)


def test_the_closure_follows_requirements_that_are_installed(site: Path) -> None:
    install(site, "shop", requires=("Tax.Rules>=1 ; python_version > '3'", "missing", "loop[extra]>2"))
    install(site, "tax-rules", requires=("loop",))
    install(site, "loop", requires=("shop",))
    install(site, "unrelated")
    installed = Distributions([str(site)])

    assert installed.closure("shop") == {"shop", "tax-rules", "loop"}
    assert installed.closure("unrelated") == {"unrelated"}
    assert installed.closure("missing") == frozenset()


def test_the_owner_of_a_module_is_found_by_its_top_level_name() -> None:
    assert Distributions().owners("pytest.anything") >= {"pytest"}
    assert Distributions().owners("no_such_module") == frozenset()


@pytest.mark.parametrize("name", ["Tax.Rules", "tax_rules", "TAX--rules", "tax-_.rules"])
def test_names_are_spelt_in_one_way(name: str) -> None:
    assert canonical(name) == "tax-rules"
