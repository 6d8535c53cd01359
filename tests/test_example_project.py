"""The example project stands on its own: nothing but pytest, wherever it lies."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "example_project"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as a user has it who copied it elsewhere."""
    target = tmp_path_factory.mktemp("elsewhere") / "shop of mine"
    return shutil.copytree(EXAMPLE, target, ignore=shutil.ignore_patterns("__pycache__", ".*cache"))


@pytest.mark.parametrize("region", ["north", "south"])
def test_it_passes_with_plain_pytest_when_copied_elsewhere(copy: Path, region: str) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
    arguments = ["-p", "no:cacheprovider", "--deselect", "tests/test_pricing.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=copy,
        env=clean | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "SHOP_REGION": region},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert not (copy / ".pytest_cache").exists()
