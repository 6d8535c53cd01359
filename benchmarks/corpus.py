"""`python -m benchmarks corpus`: download, unpack, install the measured suites; run each plainly twice.

Layout of the work directory::

    sdists/                     downloaded archives, pinned
    py3.11/NAME/tree/           the unpacked distribution, never run in place by the benchmarks
    py3.11/NAME/venv/           its interpreter: test requirements, the package and the plugin editable
    py3.11/NAME/baseline.json   outcomes, flaky tests and seconds of two plain runs
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.session import Checkout, Run, copy_tree, run_pytest
from benchmarks.specs import SPECS, Spec, spec_named

REPOSITORY = Path(__file__).resolve().parents[1]
COMMON = ("pytest-testmon", "pytest-xdist", "hypothesis")


def default_work() -> Path:
    """The directory for downloads and environments under the user's cache directory."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "pytest-perfcache-benchmarks"


@dataclass(frozen=True, slots=True)
class Baseline:
    """What two plain runs agree on; `seconds` is the faster one's wall time."""

    outcomes: dict[str, str]
    flaky: tuple[str, ...]
    seconds: float

    @property
    def passed(self) -> frozenset[str]:
        """The tests that passed both times."""
        return frozenset(nodeid for nodeid, outcome in self.outcomes.items() if outcome == "passed")

    @property
    def failing(self) -> tuple[str, ...]:
        """The tests that fail by themselves, and so run each time, whoever decides."""
        return tuple(nodeid for nodeid, outcome in self.outcomes.items() if outcome in ("failed", "error"))


@dataclass(frozen=True, slots=True)
class Suite:
    """A prepared suite in the work directory."""

    spec: Spec
    home: Path

    @property
    def tree(self) -> Path:
        """The unpacked distribution, kept pristine."""
        return self.home / "tree"

    @property
    def python(self) -> Path:
        """The interpreter of the suite's environment."""
        return self.home / "venv" / "bin" / "python"

    def checkout(self, purpose: str) -> Checkout:
        """A fresh copy for one purpose; a copy left by an earlier run is replaced."""
        checkout = copy_tree(self.spec, self.tree, self.home / "copies" / purpose, self.python)
        checkout.verify_import()
        return checkout

    def baseline(self) -> Baseline:
        """Read the recorded plain runs; `FileNotFoundError` when the suite is not prepared."""
        found = json.loads((self.home / "baseline.json").read_text())
        return Baseline(found["outcomes"], tuple(found["flaky"]), found["seconds"])


def suites(work: Path, python: str, names: list[str]) -> list[Suite]:
    """The named suites (all when none is named) as they lie in the work directory."""
    specs = [spec_named(name) for name in names] or list(SPECS)
    return [Suite(spec, work / f"py{version_of(python)}" / spec.name) for spec in specs]


def version_of(python: str) -> str:
    """Major and minor version of an interpreter, such as `3.11`."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def pip(python: Path | str, *arguments: str) -> None:
    """Run pip of an interpreter; its output is shown only when it fails."""
    done = subprocess.run(
        [str(python), "-m", "pip", "--disable-pip-version-check", *arguments],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise SystemExit(f"pip {' '.join(arguments)} failed")


def download(spec: Spec, sdists: Path, python: str) -> Path:
    """The source distribution's archive, downloaded unless it is there."""
    stem = f"{spec.name.replace('-', '[-_]')}-{spec.version}"
    if not list(sdists.glob(f"{stem}.tar.gz")):
        sdists.mkdir(parents=True, exist_ok=True)
        options = ("--no-deps", "--no-binary", ":all:", "--dest", str(sdists))
        pip(python, "download", "--quiet", *options, spec.requirement)
    return next(sdists.glob(f"{stem}.tar.gz"))


def unpack(archive: Path, tree: Path) -> None:
    """Unpack an archive so that its only top directory becomes `tree`."""
    aside = tree.with_name("unpacking")
    shutil.rmtree(aside, ignore_errors=True)
    with tarfile.open(archive) as opened:
        opened.extractall(aside, filter="data")
    (top,) = aside.iterdir()
    top.rename(tree)
    aside.rmdir()


def prepare(suite: Suite, work: Path, python: str) -> None:
    """Unpack a suite and install its environment, unless both are there."""
    if (suite.home / "prepared").exists():
        return
    archive = download(suite.spec, work / "sdists", python)
    shutil.rmtree(suite.home, ignore_errors=True)
    suite.home.mkdir(parents=True)
    unpack(archive, suite.tree)
    subprocess.run([python, "-m", "venv", str(suite.home / "venv")], check=True)
    pip(suite.python, "install", "--quiet", *COMMON, f"pytest=={suite.spec.pytest}", *suite.spec.requirements)
    pip(suite.python, "install", "--quiet", "--editable", str(suite.tree))
    (suite.home / "prepared").touch()


def install_plugin(suite: Suite, plugin: Path) -> None:
    """Install the checkout of pytest-perfcache at `plugin` editable, over one from elsewhere."""
    marker = suite.home / "plugin"
    if marker.exists() and marker.read_text() == str(plugin):
        return
    pip(suite.python, "install", "--quiet", "--editable", str(plugin))
    marker.write_text(str(plugin))


def agree(first: Run, second: Run) -> Baseline:
    """Join two runs of the same suite: a test whose outcomes differ is flaky and left out of `outcomes`."""
    names = first.outcomes.keys() | second.outcomes.keys()
    flaky = sorted(name for name in names if first.outcomes.get(name) != second.outcomes.get(name))
    steady = {name: outcome for name, outcome in first.outcomes.items() if name not in set(flaky)}
    return Baseline(steady, tuple(flaky), min(first.seconds, second.seconds))


def record_baseline(suite: Suite) -> Baseline:
    """Run the suite plainly twice in a fresh copy and keep what the two runs agree on."""
    checkout = suite.checkout("baseline")
    baseline = agree(run_pytest(checkout, "plain"), run_pytest(checkout, "plain"))
    if not baseline.outcomes:
        raise RuntimeError(f"{suite.spec.name}: nothing ran, see {checkout.scratch / 'plain.log'}")
    (suite.home / "baseline.json").write_text(json.dumps(asdict(baseline), indent=1))
    return baseline


def describe(suite: Suite, baseline: Baseline) -> str:
    """One line: counts by outcome, flaky tests, seconds."""
    outcomes = list(baseline.outcomes.values())
    counts = ", ".join(f"{outcomes.count(name)} {name}" for name in sorted(set(outcomes)))
    return f"{suite.spec.requirement}: {counts}, {len(baseline.flaky)} flaky, {baseline.seconds:.1f} s"


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """The options that every benchmark on the corpus takes."""
    parser.add_argument("suites", nargs="*", help="names of suites (default: all)")
    parser.add_argument("--work", type=Path, default=default_work(), help="work directory")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environments")


def main(arguments: list[str]) -> int:
    """Prepare the suites and print one line for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks corpus", description=__doc__)
    add_common_options(parser)
    parser.add_argument("--plugin", type=Path, default=REPOSITORY, help="checkout of pytest-perfcache to install")
    parser.add_argument("--no-plugin", action="store_true", help="leave pytest-perfcache out")
    options = parser.parse_args(arguments)
    for suite in suites(options.work.resolve(), options.python, options.suites):
        prepare(suite, options.work.resolve(), options.python)
        if not options.no_plugin:
            install_plugin(suite, options.plugin.resolve())
        known = (suite.home / "baseline.json").exists()
        print(describe(suite, suite.baseline() if known else record_baseline(suite)), flush=True)
    return 0
