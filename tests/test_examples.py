"""The examples are accepted, and Debian's toolchains build each of them twice to the same bytes, which then run."""

import io
import json
import runpy
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve

from buildtool.configuration.settings import load_settings
from buildtool.errors import UsageError
from buildtool.project.recipe_check import check_recipes, questions
from tests.support.imported import import_sources, need_sources
from tests.support.packages import require, require_that
from tests.support.trying import PATIENCE, ROOT, tried

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
        "zlib",
        "cpython",
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
    assert {
        "--translation-gc=boehm, which --opt=0 suggests",
        "--translation-backendopt-none=yes, which --opt=0 suggests",
        "--translation-gcrootfinder=n/a, which --translation-gc=boehm needs",
        "--translation-continuation=no, which --translation-gc=boehm needs",
        "--translation-backendopt-inline-threshold=0, which --translation-backendopt-none=yes needs",
        "--objspace-std-intshortcut=no, which --opt=0 suggests",
    } < words
    with pytest.raises(UsageError, match="--translation-lto=yes needs --translation-gcrootfinder=shadowstack"):
        project.options.compile_values({"translation_lto": True, "translation_gcrootfinder": "n/a"})
    with pytest.raises(UsageError, match="'asmgcc' is not one of shadowstack, n/a"):
        project.options.compile_values({"translation_gcrootfinder": "asmgcc"})


def test_pypy_is_translated_by_the_python_2_that_its_sources_bring_along_in_the_words_of_its_command_line() -> None:
    project = load_settings(FARM, secrets=False).project("pypy")
    wanted = next(iter(questions(project))).wanted
    options = dict(project.options.compile_values({"opt": "jit", "translation_continuation": False}))
    commands = project.recipe.plan(evolve(wanted, options=options)).commands
    (translate,) = (one for one in commands if one.name == "translate")
    target = translate.argv.index("targetpypystandalone")
    assert {"--opt=jit", "--translation-jit", "--gc=incminimark"} < set(translate.argv[:target])
    assert {"--withoutmod-_continuation", "--withmod-cpyext"} < set(translate.argv[target:])
    assert [one.cwd for one in commands][:2] == ["cpython27", "cpython27"]
    options = dict(project.options.compile_values({"translated_by": "pypy"}))
    commands = project.recipe.plan(evolve(wanted, options=options)).commands
    assert [one.argv[0] for one in commands] == ["ln", "pypy", "./pypy3.9-c"]


def test_configure_of_cpython_is_told_each_option_that_is_not_as_it_is_by_itself() -> None:
    project = load_settings(FARM, secrets=False).project("cpython")
    wanted = next(iter(questions(project))).wanted

    def told(**said: bool | str) -> set[str]:
        options = dict(project.options.compile_values(said))
        return set(project.recipe.plan(evolve(wanted, options=options)).commands[1].argv)

    plain = told()
    for said, more in (
        ({"debug": True}, {"--with-pydebug"}),
        ({"trace_refs": True}, {"--with-trace-refs", "--with-pydebug"}),
        ({"trace_refs": True, "debug": False}, {"--with-trace-refs"}),
        ({"pgo": True, "profile": "test_json"}, {"--enable-optimizations", "PROFILE_TASK=-m test --pgo test_json"}),
        ({"ipv6": False, "lto": True}, {"--disable-ipv6", "--with-lto"}),
        ({"sanitizer": "address"}, {"--with-address-sanitizer", "--without-pymalloc"}),
    ):
        assert told(**said) - plain == more
    with pytest.raises(UsageError, match="--tests"):
        project.options.compile_values({"tests": "test_grammar;id"})


@pytest.mark.long
@pytest.mark.xdist_group("cpython")
def test_cpython_is_built_from_debians_source_and_what_is_delivered_runs_elsewhere(tmp_path: Path) -> None:
    for program in ("gcc", "make"):
        require(program, program)
    present = Path("/usr/include/zlib.h").exists()
    require_that(present=present, what="zlib's headers are not installed", remedy="apt-get install zlib1g-dev")
    need_sources("cpython")
    repository, tree = tmp_path / "cpython.git", tmp_path / "tree"
    assert not import_sources("cpython", repository).returncode
    listed = ["git", "-C", str(repository), "rev-parse", "v3.11.2^{commit}"]
    commit = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.strip()
    assert commit == "ff9904137dfd90b606eb309e4f8307f4facce1d8", "each machine imports the same"
    subprocess.run(["git", "clone", "--quiet", str(repository), str(tree)], check=True)
    # What takes least: without the tests, and not optimised.
    words = ["cpython", "--debug", "--optimize=0", "--no-test-modules", "--no-ipv6", "--once", "--json"]
    place = tmp_path / "builds"
    code, out, err = tried(
        "try", *words, "--config", FARM, "--source", tree, builds=place, patience=3 * PATIENCE, PATH=DEBIAN
    )
    assert code == 0, err[-4000:] + out
    answer = json.loads(out)
    assert answer["revision"] == commit
    with zipfile.ZipFile(answer["runs"][0]["artifact"]["path"]) as archive:
        for name in archive.namelist():
            archive.extract(name, tmp_path / "elsewhere")
            assert str(place).encode() not in archive.read(name), name
    interpreter = tmp_path / "elsewhere" / "cpython" / "bin" / "python3.11"
    interpreter.chmod(0o755)
    asked = "import json, socket, sys, zlib; print(sys.version_info[:2], hasattr(sys, 'gettotalrefcount'), sys.prefix)"
    done = subprocess.run([interpreter, "-I", "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"(3, 11) True {tmp_path}/elsewhere/cpython\n"


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
def test_a_second_archive_of_a_release_is_imported_into_its_own_place(tmp_path: Path) -> None:
    """As that of PyPy, which has the CPython 2.7 in it that translates."""
    require("git", "git")
    script = runpy.run_path(str(EXAMPLES / "import_sources.py"))
    archives = []
    for name, place in (("pypy.tar.xz", ""), ("python.tar.xz", "cpython27")):
        with tarfile.open(tmp_path / name, "w:xz") as tar:
            for path, text in ((f"{name}.orig/a/run.py", "1"), (f"{name}.orig/z", "2")):
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(text), 0o755
                tar.addfile(member, io.BytesIO(text.encode()))
            link = tarfile.TarInfo(f"{name}.orig/link")
            link.type, link.linkname = tarfile.SYMTYPE, "a/run.py"
            tar.addfile(link)
        archives.append(script["Archive"](name, script["digest"](tmp_path / name), place))
    release = script["Release"]("1.0", "bookworm", datetime(2026, 1, 1, tzinfo=UTC), tuple(archives))
    sources = script["Sources"]("pypy", "PyPy", "pypy3", (release,))
    script["imported"](sources, tmp_path / "pypy.git", tmp_path)
    listed = ["git", "-C", str(tmp_path / "pypy.git"), "ls-tree", "-r", "v1.0"]
    lines = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [(line.split()[0], line.split()[-1]) for line in lines] == [
        ("100755", "a/run.py"),
        ("100755", "cpython27/a/run.py"),
        ("120000", "cpython27/link"),
        ("100755", "cpython27/z"),
        ("120000", "link"),
        ("100755", "z"),
    ]


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
