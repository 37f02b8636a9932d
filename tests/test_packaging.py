"""What `pip install .` brings: the four programs, every page and template, and no top-level `web`; and the locks."""

import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {
    "metaserver": "buildtool.programs.common.launch:metaserver",
    "webserver": "buildtool.programs.common.launch:webserver",
    "buildserver.py": "buildtool.programs.common.launch:buildserver",
    "startcompile": "buildtool.programs.common.launch:startcompile",
    "startcompile.py": "buildtool.programs.common.launch:startcompile",
}

pytestmark = pytest.mark.xdist_group("packaging")  # one wheel for all of them


def run(command: list[str], cwd: Path, env: dict[str, str]) -> str:
    """Return what a command printed; it has to exit with 0."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built offline, and from a copy because building leaves traces beside the sources."""
    source = tmp_path_factory.mktemp("source")
    for name in ("buildtool", "web", "docs/man"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.rst", "CHANGES.rst", "LICENSE"):
        shutil.copy(ROOT / name, source)
    out = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(out),
        str(source),
    ]
    run(command, out, dict(os.environ))
    (made,) = out.glob("buildtool-*.whl")
    return made


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def shipped(folder: str) -> set[str]:
    """Every file under a folder of the checkout, as it should be named in the wheel."""
    files = (p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    inside = "buildtool" if folder.startswith("web") else ""
    return {Path(inside, p.relative_to(ROOT)).as_posix() for p in files}


@pytest.mark.parametrize(
    ("folder", "suffix"),
    [
        ("buildtool", ".py"),
        ("web", ".py"),
        ("web/templates", ".html"),
        ("web/static", ".css"),
        ("buildtool/adapters/mail/templates", ""),
        ("buildtool/adapters/sql/migrations", ".mako"),
    ],
)
def test_every_file_of_a_folder_is_in_the_wheel(names: set[str], folder: str, suffix: str) -> None:
    expected = {n for n in shipped(folder) if n.endswith(suffix)}
    assert expected
    assert expected <= names, expected - names


def test_the_wheel_holds_one_top_level_package(names: set[str]) -> None:
    """A top-level `web` would clash with web.py's."""
    assert {n.split("/")[0] for n in names if ".dist-info/" not in n and ".data/" not in n} == {"buildtool"}


def test_the_wheel_installs_a_man_page_of_each_program(names: set[str]) -> None:
    found = {n.partition(".data/data/share/man/man1/")[2] for n in names if ".data/" in n}
    assert found == {f"{program}.1" for program in PROGRAMS if program != "startcompile"}


def test_the_wheel_is_typed_and_licensed(names: set[str]) -> None:
    assert "buildtool/py.typed" in names
    assert any(n.endswith("/LICENSE") for n in names)


def test_the_four_programs_are_installed_and_found(wheel: Path, tmp_path: Path) -> None:
    """Installed elsewhere, the checkout out of sight, each program starts its own main from the wheel."""
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target"]
    run([*command, str(target), str(wheel)], tmp_path, dict(os.environ))
    assert {p.name for p in (target / "bin").iterdir()} == set(PROGRAMS)
    env = dict(os.environ) | {"PYTHONPATH": str(target)}
    env.pop("BUILDTOOL_CONFIG", None)
    for program, where in PROGRAMS.items():
        helped = run([sys.executable, str(target / "bin" / program), "--help"], tmp_path, env)
        assert program in helped
        module, _, function = where.partition(":")
        found = run([sys.executable, "-c", f"import {module} as m; m.{function}; print(m.__file__)"], tmp_path, env)
        assert found.startswith(str(target))


# --- locks and environments -------------------------------------------------------------------------------------


def locked(what: str) -> dict[str, set[str]]:
    """The digests that a lock has for each package and version."""
    text = (ROOT / f"requirements-{what}.txt").read_text("utf-8")
    packages = re.findall(r"^(\S+==\S+) \\\n((?:    --hash=.*\n?)+)", text, re.MULTILINE)
    return {name: set(re.findall(r"sha256:[0-9a-f]{64}", digests)) for name, digests in packages}


@pytest.mark.parametrize("program", ["metaserver", "buildserver", "requester"])
def test_the_lock_of_a_program_is_part_of_that_of_everything(program: str) -> None:
    part, everything = locked(program), locked("dev")
    assert part
    assert part.items() <= everything.items()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("", "at work"),
        ("Collecting attrs==1 (from -r x)\nCollecting six==2", "looked up 2 of 9 packages"),
        (
            "Collecting attrs==1\n  Using cached attrs-1-py3.whl (67 kB)\n",
            "fetched 1 of 9 packages: attrs-1-py3.whl (67 kB)",
        ),
        ("Downloading a-1.tar.gz (2.1 MB)\nInstalling collected packages: six, attrs", "installed 4 of 9 packages"),
    ],
)
def test_whoever_waits_for_an_environment_is_told_how_far_it_is(said: str, told: str) -> None:
    assert runpy.run_path(str(ROOT / ".ci" / "venv.py"))["how_far"](said, 9, 4) == told


@pytest.fixture
def environments(tmp_path: Path) -> Path:
    """A checkout with nothing but what makes environments; `.venv-dev` has no packages there."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "venv.py", tmp_path / ".ci")
    (tmp_path / "requirements-dev.txt").touch()
    return tmp_path / ".ci" / "venv.py"


def test_an_environment_that_cannot_be_written_is_one_line_that_names_the_place(environments: Path) -> None:
    place = environments.parents[1] / ".venv-dev.lock"
    place.mkdir()
    words = [sys.executable, str(environments), ".venv-dev"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f".venv-dev cannot be made: {place}: Is a directory\n")


def is_of_python_itself(said: str, script: Path) -> bool:
    """Return whether Python was interrupted that begins: no line of the script that takes care of it was done yet."""
    if said.startswith("Fatal Python error: init"):
        return True
    cares = next(at for at, line in enumerate(script.read_text().splitlines(), 1) if "SIG_DFL)" in line)
    lines = [int(number) for number in re.findall(rf'File "{re.escape(str(script))}", line (\d+)', said)]
    return said.endswith("KeyboardInterrupt\n") and all(line <= cares for line in lines)


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("Fatal Python error: init_sys_streams: can't initialize sys standard streams\n", True),
        ('Traceback (most recent call last):\n  File "{script}", line 0, in <module>\nKeyboardInterrupt\n', True),
        ('Traceback (most recent call last):\n  File "{script}", line 120, in make\nKeyboardInterrupt\n', False),
        ("", False),
    ],
)
def test_only_what_python_says_before_the_script_begins_is_its_own(environments: Path, said: str, right: bool) -> None:
    assert is_of_python_itself(said.replace("{script}", str(environments)), environments) is right


@pytest.mark.parametrize("moment", ["at once", "is made now"])
def test_an_environment_that_ctrl_c_breaks_off_says_so_in_one_line_at_most_and_leaves_nothing_running(
    environments: Path, moment: str
) -> None:
    words = [sys.executable, "-S", str(environments), ".venv-dev"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as making:
        assert making.stdout is not None
        if moment != "at once":
            assert moment in making.stdout.readline()
        os.killpg(making.pid, signal.SIGINT)
        said = making.stdout.read()  # to its end, which is that of the last process that has it
    if moment == "at once" and is_of_python_itself(said, environments):
        return
    # "At once" it mostly has not begun, and says nothing; on a busy machine it may be at any of its steps.
    *before, last = said.splitlines() or [""]
    told = ".venv-dev: broken off; it is made anew the next time"
    assert last in ((told, "") if moment == "at once" else (told,))
    assert all(re.fullmatch(r"\.venv-dev: (is made now, with .*|at work)", line) for line in before)
    assert making.returncode == (130 if last else -signal.SIGINT)
    with pytest.raises(ProcessLookupError):
        os.killpg(making.pid, 0)


@pytest.mark.parametrize(("left", "anew"), [("by a make that succeeded", False), ("by no more than a venv", True)])
def test_an_environment_without_its_stamp_is_made_anew_since_it_may_lack_anything(
    environments: Path, left: str, anew: bool
) -> None:
    environment = there_is_one(environments)
    if left == "by a make that succeeded":
        environment.stamp.write_text("of other locks")
    steps: list[tuple[str, ...]] = []
    environment._run = lambda *words: steps.append(words)
    environment.make()
    assert any("venv" in words for words in steps) is anew
    assert environment.current()


@pytest.mark.parametrize(("code", "anew"), [(1, False), (-9, True)])
def test_an_environment_of_which_pip_says_that_it_cannot_be_made_now_stays_as_it_was(
    environments: Path, code: int, anew: bool
) -> None:
    """Where there is no network, say; where pip was killed nobody knows what is there."""
    environment = there_is_one(environments)
    environment.stamp.write_text("of other locks")
    steps: list[tuple[str, ...]] = []

    def fail(*words: str) -> None:
        steps.append(words)
        if "pip" in words:
            raise subprocess.CalledProcessError(code, words)

    environment._run = fail
    for _ in range(2):
        with pytest.raises(subprocess.CalledProcessError):
            environment.make()
        assert not environment.current()
    assert any("venv" in words for words in steps) is anew


def there_is_one(environments: Path) -> Any:
    environment = runpy.run_path(str(environments))["Environment"](".venv-dev")
    environment.packages.mkdir(parents=True)
    environment.python.parent.mkdir()
    environment.python.symlink_to(sys.executable)
    return environment


# What the project's user gave, then what earns its place beside it: see docs/architecture.rst.
TOP_LEVEL = {
    *("buildtool", "bin", "config.py", "testproject", "web", "tests", "setup.cfg", "README.rst"),
    *(".ci", ".github", ".gitignore", ".pre-commit-config.yaml", "Makefile", "pyproject.toml", "LICENSE"),
    *("CHANGES.rst", "changes.d", "CONTRIBUTING.rst", "SECURITY.rst", "bench-results", "deploy", "docs", "examples"),
    *(f"requirements-{extra}.txt" for extra in ("buildserver", "dev", "metaserver", "requester")),
}


def test_nothing_that_a_program_left_behind_is_kept_at_the_top_of_the_repository() -> None:
    """Artifacts and a build server's copy of /etc once were, for a hundred commits."""
    kept = run(["git", "ls-files"], ROOT, dict(os.environ)).splitlines()
    assert {name.strip('"').partition("/")[0] for name in kept} == TOP_LEVEL
