"""Which suites are measured: public projects, pinned, as their source distributions ship them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spec:
    """One suite: where it comes from, what it needs, and how its authors run it.

    `requirements` are those of the project's own test environment; paths are relative to the unpacked
    distribution. `conftest_dir` is where an empty directory sees the same conftest files as the tests.
    """

    name: str
    version: str
    packages: tuple[str, ...]
    source_root: str = "src"
    requirements: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    conftest_dir: str = "tests"
    pytest: str = "9.2.*"

    @property
    def requirement(self) -> str:
        """The pinned requirement that pip downloads."""
        return f"{self.name}=={self.version}"

    @property
    def import_names(self) -> tuple[str, ...]:
        """The top-level names that must come from the checkout under test."""
        return tuple(package.rsplit("/", 1)[-1] for package in self.packages)


SPECS: tuple[Spec, ...] = (
    Spec("attrs", "26.1.0", ("src/attr", "src/attrs"), requirements=("cloudpickle", "pympler")),
    Spec("click", "8.5.1", ("src/click",)),
    # Flask's test_cli.py imports `_pytest.monkeypatch.notset`, which later versions do not have.
    Spec(
        "flask",
        "3.1.3",
        ("src/flask",),
        requirements=("asgiref", "greenlet", "python-dotenv"),
        pytest="9.0.*",
    ),
    Spec("jinja2", "3.1.6", ("src/jinja2",), requirements=("trio",)),
    Spec(
        "packaging",
        "26.3",
        ("src/packaging",),
        requirements=("coverage[toml]>=7.2.0", "pip>=21.1", "pretend", "tomli_w"),
    ),
    Spec(
        "more-itertools",
        "11.2.1",
        ("more_itertools",),
        source_root=".",
        arguments=("tests",),
    ),
    Spec("cachetools", "8.0.1", ("src/cachetools",)),
    Spec("h11", "0.16.0", ("h11",), source_root=".", arguments=("h11",), conftest_dir="h11/tests"),
    Spec("itsdangerous", "2.2.0", ("src/itsdangerous",), requirements=("freezegun",)),
    Spec("markupsafe", "3.0.4", ("src/markupsafe",)),
    Spec("marshmallow", "4.4.0", ("src/marshmallow",), requirements=("simplejson",)),
    Spec("python-dotenv", "1.2.4", ("src/dotenv",), requirements=("click", "sh", "ipython")),
    Spec("tomlkit", "0.15.2", ("tomlkit",), source_root=".", requirements=("PyYAML",), arguments=("tests",)),
    Spec(
        "werkzeug",
        "3.1.9",
        ("src/werkzeug",),
        requirements=("cffi", "cryptography", "ephemeral-port-reserve", "pytest-timeout", "watchdog"),
    ),
    Spec("networkx", "3.6.1", ("networkx",), source_root=".", arguments=("networkx",), conftest_dir="networkx"),
)


def spec_named(name: str) -> Spec:
    """Find a suite by name; `LookupError` lists the names that exist."""
    for spec in SPECS:
        if spec.name == name:
            return spec
    known = ", ".join(spec.name for spec in SPECS)
    raise LookupError(f"no suite is named {name!r}; there are: {known}")
