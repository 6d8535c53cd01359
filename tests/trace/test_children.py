"""Child processes that run Python are traced like the test itself; whatever else is started spoils the test.

One project starts processes in every way; sessions of pytest in an environment of its own, which has the ``.pth``
file as an installation has it, record it and judge it after edits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import pytest_perfcache
from pytest_perfcache.trace.programs import without_site

PACKAGE = Path(pytest_perfcache.__file__).parent
ENTRY = next(path / "pytest_perfcache_child.pth" for path in (PACKAGE.parent, PACKAGE) if any(path.glob("*_child.pth")))
PROJECT = {
    "pytest.ini": "[pytest]\n",
    "pkg/__init__.py": "",
    "pkg/work.py": """
import os

def used():
    return 41 + 1

def unused():
    return 1

def data():
    with open(os.path.join(os.path.dirname(__file__), "data.txt")) as file:
        return file.read()

def region():
    return os.environ.get("REGION")
""",
    "pkg/data.txt": "data\n",
    "pkg/__main__.py": """
from pkg import work

def main():
    print(work.used())

def other():
    return 1

main()
""",
    "script.py": "from pkg import work\nprint(work.used())\n",
    "reader.py": "from pkg import work\nprint(work.data())\n",
    "asker.py": "from pkg import work\nprint(work.region())\n",
    "dropper.py": "import sys\nopen(sys.argv[1], 'w').write('dropped')\n",
    "taker.py": "import sys\nprint(open(sys.argv[1]).read())\n",
}
TRACED = {
    "script": "assert run('script.py') == '42'",
    "package": "assert run('-m', 'pkg') == '42'",
    "code": "assert run('-c', 'from pkg.work import used; print(used())') == '42'",
    "isolated": """
    code = "import sys; sys.path.insert(0, '.'); from pkg.work import used; print(used())"
    assert run('-I', '-c', code) == '42'
""",
    "fork": "by_process('fork')",
    "spawn": "by_process('spawn')",
    "pool": "by_pool('fork')",
    "pool_spawn": "by_pool('spawn')",
    "os_fork": """
    child = os.fork()
    if child == 0:
        from pkg.work import used
        os._exit(used())
    assert os.waitpid(child, 0)[1] >> 8 == 42
""",
    "leaves_early": "run('-c', 'import os; from pkg.work import used; used(); os._exit(0)')",
    "grandchild": """
    code = "import subprocess, sys; print(subprocess.run([sys.executable, 'script.py'], stdout=-1, text=True).stdout)"
    assert run('-c', code) == '42'
""",
    "forked_grandchild": """
    code = "import os; from pkg import work; child = os.fork()\\nif child == 0: work.used(); os._exit(0)"
    run('-c', code + "\\nos.waitpid(child, 0)")
""",
    "empty_environment": """
    code = 'import os; from pkg.work import used; used(); print(os.environ)'
    assert 'PERFCACHE' not in run('-c', code, env={})
""",
    "inner_pytest": "assert '1 passed' in run('-m', 'pytest', '-p', 'perfcache', '-q', 'inner/check.py')",
}
BESIDE = {
    "data": "assert run('reader.py')",
    "region": "assert run('asker.py')",
    "environment_given": "assert run('asker.py', env={'REGION': 'given'}) == 'given'",
    "written_by_child": """
    path = os.path.abspath("dropped.txt")
    run('dropper.py', path)
    assert open(path).read() == 'dropped'
    os.unlink(path)
""",
    "written_for_child": """
    path = os.path.abspath("given.txt")
    with open(path, "w") as file:
        file.write("given")
    assert run('taker.py', path) == 'given'
    os.unlink(path)
""",
    "finalizer_that_is_through": "run('finalizer.py')",
    "finalizer_that_is_left_out": "run('-c', 'import late, os; late.kept = late.Late(); os._exit(0)')",
    "nothing_loaded": """
    loaded = run('-c', 'import sys; print(*sys.modules)').split()
    assert not {'re', 'json', 'typing', 'pathlib'} & set(loaded)
""",
}
SPOILED = {
    "foreign": ("subprocess.run(['expr', '1'], check=True)", "starts a program: expr 1"),
    "shell": ("subprocess.run('true', shell=True, check=True)", "starts a program: sh"),
    "system": ("os.system('true')", "starts a program: true"),
    "without_site": ("run('-S', '-c', '1')", "starts a program: python -S -c 1"),
    "killed": ("subprocess.run([sys.executable, '-c', 'import os; os.kill(os.getpid(), 9)'])", "left no trace: python"),
    "forked_and_killed": (
        "child = os.fork()\n    if child == 0: os.kill(os.getpid(), 9)\n    os.waitpid(child, 0)",
        "left no trace: a copy of itself",
    ),
    "by_the_back_door": ("run('-c', 'import posix; posix._exit(0)')", "left no trace: python"),
    "still_running": (
        "running.append(subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE))",
        "left no trace: python -c input()",
    ),
    "foreign_grandchild": ("run('-c', 'import os; os.system(\"true\")')", "starts a program: true"),
    "before_exec": ("run('-c', '1', preexec_fn=os.getpid)", "starts a program: python -c 1"),
    "finalizer": ("run('keeper.py')", "may run Late.__del__ after all else"),
    "finalizer_in_a_cycle": ("run('cycle.py')", "may run Late.__del__ after all else"),
    "finalizer_by_the_builtins": ("run('builtin.py')", "may run Late.__del__ after all else"),
    "forkserver": ("by_process('forkserver')", "connects to"),
}
TESTS = """
import multiprocessing, os, subprocess, sys
from concurrent.futures import ProcessPoolExecutor

running = []

def teardown_module():
    for process in running:
        process.communicate(b"")

def run(*args, **options):
    done = subprocess.run([sys.executable, *args], check=True, stdout=subprocess.PIPE, text=True, **options)
    return done.stdout.strip()

def work(queue=None):
    from pkg.work import used
    if queue is not None:
        queue.put(used())
    return used()

def by_process(method):
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    process = context.Process(target=work, args=(queue,))
    process.start()
    assert queue.get() == 42
    process.join()
    assert process.exitcode == 0

def by_pool(method):
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        assert pool.submit(work).result() == 42

"""


@dataclass(frozen=True, slots=True)
class Told:
    """What the report tells of one test."""

    hit: bool
    reason: str
    outcome: str


class Project:
    """Lies in a directory of its own; ``python`` is the interpreter of an environment with the ``.pth`` file."""

    def __init__(self, root: Path, python: Path) -> None:
        self.root = root
        self._python = python
        self._environ = {"PATH": os.environ["PATH"], "REGION": "north", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")

    def replace(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text("utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), "utf-8")

    def session(self, *args: str, **environ: str) -> dict[str, Told]:
        report = self.root.parent / "report.json"
        options = ["-p", "perfcache", "-p", "xdist", "-q", f"--perfcache-report=json:{report}", *args]
        done = subprocess.run(
            [str(self._python), "-m", "pytest", *options],
            cwd=self.root,
            env=self._environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        tests = json.loads(report.read_text("utf-8"))["tests"]
        return {
            nodeid.partition("::test_")[2]: Told(test["verdict"] == "hit", test["reason"], test["outcome"])
            for nodeid, test in tests.items()
        }


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, symlinks=True)
    site_packages = next(home.glob("lib/python*/site-packages"))
    outer = [str(PACKAGE.parent), *(path for path in sys.path if path.endswith("site-packages"))]
    (site_packages / "outer.pth").write_text("\n".join(outer) + "\n", "utf-8")
    (site_packages / ENTRY.name).write_bytes(ENTRY.read_bytes())
    return home / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Story:
    """The same tests, session after session."""

    again: dict[str, Told]
    after_used: dict[str, Told]
    after_unused: dict[str, Told]
    after_data: dict[str, Told]
    after_region: dict[str, Told]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, python: Path) -> Story:
    project = Project(tmp_path_factory.mktemp("children") / "project", python)
    bodies = {**TRACED, **BESIDE, **{name: body for name, (body, _) in SPOILED.items()}}
    tests = "\n".join(f"def test_{name}():\n    {body.strip()}\n" for name, body in bodies.items())
    project.write(
        {
            **PROJECT,
            "test_all.py": TESTS + tests,
            "inner/check.py": "from pkg.work import used\ndef test_it(): assert used()\n",
            "finalizer.py": "import late\nprint(late.Late())\n",
            "keeper.py": "import late\nkept = late.Late()\n",
            "cycle.py": "import late\nkept = late.Late()\nkept.kept = kept\n",
            "builtin.py": "import builtins, late\nbuiltins.kept = late.Late()\n",
            "late.py": "class Late:\n    def __del__(self): pass\n",
        }
    )
    project.session()
    again = project.session()
    project.replace("pkg/work.py", "41 + 1", "40 + 2")
    after_used = project.session()
    project.replace("pkg/work.py", "return 1", "return 2")
    project.replace("pkg/__main__.py", "return 1", "return 2")
    after_unused = project.session()
    project.write({"pkg/data.txt": "other\n"})
    after_data = project.session()
    return Story(again, after_used, after_unused, after_data, project.session(REGION="south"))


@pytest.mark.parametrize("name", [*TRACED, *BESIDE])
def test_a_test_is_a_hit_while_nothing_changed_that_its_children_touched(story: Story, name: str) -> None:
    assert story.again[name] == Told(True, "unchanged", "passed")


@pytest.mark.parametrize("name", TRACED)
def test_it_runs_again_when_a_function_changed_that_only_a_child_ran(story: Story, name: str) -> None:
    assert not story.after_used[name].hit
    assert story.after_used[name].reason.startswith("changed: ")
    assert "pkg/work.py" in story.after_used[name].reason


@pytest.mark.parametrize("name", [*TRACED, *BESIDE])
def test_it_is_a_hit_when_a_function_changed_that_no_child_ran(story: Story, name: str) -> None:
    assert story.after_unused[name] == Told(True, "unchanged", "passed")


def test_a_data_file_that_only_a_child_reads_is_an_input_of_that_test_alone(story: Story) -> None:
    assert _ran(story.after_data) == {"data"}
    assert story.after_data["data"].reason == "changed: file:pkg/data.txt changed"


def test_a_variable_that_only_a_child_reads_is_an_input_unless_the_test_sets_it(story: Story) -> None:
    assert _ran(story.after_region) == {"region"}
    assert story.after_region["region"].reason == "changed: env:REGION changed"


@pytest.mark.parametrize("name", SPOILED)
def test_what_leaves_no_complete_trace_runs_always_and_is_named(story: Story, name: str) -> None:
    assert not story.again[name].hit
    assert story.again[name].reason.startswith("not cacheable: ")
    assert SPOILED[name][1] in story.again[name].reason


def test_workers_of_xdist_trace_the_children_of_their_tests(tmp_path: Path, python: Path) -> None:
    project = Project(tmp_path / "project", python)
    tests = "\n".join(f"def test_{name}():\n    {TRACED[name]}\n" for name in ("script", "spawn"))
    project.write({**PROJECT, "test_all.py": TESTS + tests})
    project.session("-n", "2")
    second = project.session("-n", "2")
    assert all(told.hit for told in second.values()), second
    project.replace("pkg/work.py", "41 + 1", "40 + 2")
    assert _ran(project.session("-n", "2")) == {"script", "spawn"}


def _ran(tests: Mapping[str, Told]) -> set[str]:
    """Names of the tests that ran though they can be cached."""
    return {name for name, told in tests.items() if not told.hit and name not in SPOILED}


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which the entry finds neither the package nor what it needs."""
    return {"PATH": os.environ["PATH"], "PERFCACHE_CHILD": f"1:{tmp_path}"}


def test_the_entry_never_breaks_the_start_of_python(bare: dict[str, str]) -> None:
    code = f"exec({ENTRY.read_text('utf-8')!r}); print('started')"
    for path in ("", str(PACKAGE.parent)):
        done = subprocess.run(
            [sys.executable, "-S", "-c", code],
            env=bare | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.stderr, done.returncode) == ("started\n", "", 0)


@pytest.mark.parametrize("options", [["-S"], ["-ES", "x.py"], ["-X", "dev", "-S"], ["-Xdev", "-S"], ["-OSc", "1"]])
def test_an_interpreter_that_reads_no_pth_files_is_known_by_its_options(options: list[str]) -> None:
    assert without_site(options)


@pytest.mark.parametrize("options", [[], ["-"], ["-c", "-S"], ["-mS"], ["x.py", "-S"], ["-W", "S"], ["-WS"]])
def test_what_follows_the_options_is_not_taken_for_one(options: list[str]) -> None:
    assert not without_site(options)
