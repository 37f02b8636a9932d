"""The examples are accepted, and Debian's toolchains build each of them twice to the same bytes, which then run."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import evolve

from buildtool.configuration.settings import load_settings
from buildtool.errors import UsageError
from buildtool.project.recipe_check import check_recipes, questions
from tests.support.packages import require, require_that
from tests.support.trying import ROOT, tried

EXAMPLES = ROOT / "examples"
FARM = EXAMPLES / "farm.py"
DEBIAN = "/usr/bin:/bin"
"""Where Debian's toolchains are, and no others."""

BUILT: Mapping[str, tuple[str, tuple[str, ...], str, tuple[str, ...], str, str]] = {
    "golang": ("wordcount", ("--limit=2",), "wordcount", (), "b a b\n", "2 b\n1 a\n"),
    "cmake": ("primes", ("--sum", "--up-to=10"), "out/bin/primes", (), "", "2\n3\n5\n7\nsum 17\n"),
    "rust": ("hashline", (), "target/release/hashline", (), "a\n", "af63dc4c8601ec8c a\n"),
    "wheel": ("inkwell", (), "dist/inkwell-1.0.0-py3-none-any.whl", ("14",), "", "XIV\n"),
}
"""By folder: its project, options that are said, what is delivered, and what that makes of arguments and input."""


def need(folder: str) -> None:
    """Skip the test by name where Debian's toolchain for an example is not installed."""
    packages = {"golang": ("go", "golang-go"), "cmake": ("cmake", "cmake"), "rust": ("cargo", "cargo")}
    if folder in packages:
        program, package = packages[folder]
        there = (Path("/usr/bin") / program).exists()
        require_that(present=there, what=f"Debian's {program} is not installed", remedy=f"apt-get install {package}")
        return
    asked = ["/usr/bin/python3", "-c", "import setuptools, wheel"]
    there = Path(asked[0]).exists() and not subprocess.run(asked, capture_output=True, check=False).returncode
    remedy = "apt-get install python3-setuptools python3-wheel"
    require_that(present=there, what="Debian's setuptools and wheel are not installed", remedy=remedy)


@pytest.mark.world
def test_each_example_is_accepted_with_every_value_of_every_option() -> None:
    settings = load_settings(FARM, secrets=False)
    assert [project.name for project in settings.projects] == [
        "inkwell",
        "wordcount",
        "primes",
        "hashline",
        "lua",
        "pypy",
    ]
    check_recipes(settings.projects, thorough=True)


def test_a_go_program_is_built_for_other_platforms_by_the_compiler_that_is_there() -> None:
    project = load_settings(FARM, secrets=False).project("wordcount")
    made = {one.wanted.platform["arch"]: one.wanted for one in questions(project) if one.wanted.kind == "cross"}
    assert project.recipe.plan(made["aarch64"]).environment["GOARCH"] == "arm64"
    assert project.recipe.plan(made["s390x"]).environment["CGO_ENABLED"] == "0"


def test_options_of_pypy_bring_others_along_as_its_own_configuration_does() -> None:
    project = load_settings(FARM, secrets=False).project("pypy")
    words = {one.words() for one in project.options.followed({"opt": "0"})}
    assert words == {
        "--translation-gc=boehm, which --opt=0 suggests",
        "--translation-backendopt-none=yes, which --opt=0 suggests",
        "--translation-gctransformer=boehm, which --translation-gc=boehm needs",
        "--translation-continuation=no, which --translation-gc=boehm needs",
    }
    with pytest.raises(UsageError, match="--translation-sandbox=yes needs --translation-thread=no, but it is yes"):
        project.options.compile_values({"translation_sandbox": True, "translation_thread": True})
    wanted = next(iter(questions(project))).wanted
    options = dict(project.options.compile_values({"opt": "jit", "translation_gcrootfinder": "asmgcc"}))
    (translate, _) = project.recipe.plan(evolve(wanted, options=options)).commands
    assert {"--opt=jit", "--jit", "--gc=incminimark", "--gcrootfinder=asmgcc"} < set(translate.argv)


@pytest.mark.long
@pytest.mark.parametrize("folder", BUILT)
def test_an_example_is_built_twice_to_the_same_bytes_and_runs(folder: str, tmp_path: Path) -> None:
    need(folder)
    name, options, file, arguments, given, answer = BUILT[folder]
    words = [name, "--config", str(FARM), "--source", str(EXAMPLES / folder / "source"), "--json", *options]
    code, out, err = tried("try", *words, "--output", tmp_path / "kept", builds=tmp_path / "builds", PATH=DEBIAN)
    assert code == 0, err + out
    artifact = json.loads(out)["runs"][0]["artifact"]
    assert [one["name"] for one in artifact["members"]] == [file]
    assert ("-any-" in artifact["name"]) == (folder == "wheel")
    with zipfile.ZipFile(artifact["path"]) as archive:
        program = Path(archive.extract(file, tmp_path))
    program.chmod(0o755)
    command = [str(program)] if folder != "wheel" else [
        sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv.pop(1)); import inkwell; inkwell.main()",
        str(program),
    ]  # fmt: skip
    done = subprocess.run([*command, *arguments], input=given, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == answer


@pytest.mark.long
@pytest.mark.parametrize("folder", BUILT)
def test_what_new_project_writes_for_the_sources_of_an_example_builds_them(folder: str, tmp_path: Path) -> None:
    need(folder)
    source = EXAMPLES / folder / "source"
    code, out, err = tried("new-project", tmp_path / "farm", "--source", source, "--json", builds=tmp_path, PATH=DEBIAN)
    assert code == 0, err
    project, config = json.loads(out)["project"], tmp_path / "farm" / "config.py"
    words = ["--try", project, "--config", config, "--source", source, "--json", "--once"]
    code, out, err = tried(*words, builds=tmp_path / "builds", PATH=DEBIAN)
    assert code == 0, err + out
    names = {Path(one["name"]).name for one in json.loads(out)["runs"][0]["artifact"]["members"]}
    assert Path(BUILT[folder][2]).name in names


@pytest.mark.world
def test_repositories_of_the_examples_are_the_same_commits_each_time(tmp_path: Path) -> None:
    require("git", "git")
    script = EXAMPLES / "make_repositories.py"
    said = []
    for place in (tmp_path / "one", tmp_path / "one", tmp_path / "two"):
        done = subprocess.run([sys.executable, script, place], capture_output=True, text=True, check=True, cwd=tmp_path)
        said.append(done.stdout.replace(str(place), ""))
    assert len(set(said)) == 1
    assert said[0].count("\n") == len(BUILT)
    listed = ["git", "-C", str(tmp_path / "one" / "rust.git"), "ls-tree", "-r", "--name-only", "main"]
    files = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    assert "vendor/fnv/.cargo-checksum.json" in files
