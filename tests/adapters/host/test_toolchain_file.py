"""The donor's file of toolchains: what it may say, and one located line for every mistake."""

import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.host.toolchain_file import (
    COMMAND_LIMIT,
    SIZE_LIMIT,
    TOOLCHAINS_LIMIT,
    ToolchainFile,
    arch_of,
    load_toolchain_file,
    parse_toolchain_file,
)
from buildtool.adapters.host.toolchains import NamedToolchain
from buildtool.errors import ConfigurationError
from buildtool.model.platforms import ARCHES, TRIPLES
from buildtool.model.servers import OfferKind

MANUAL = Path(__file__).resolve().parents[3] / "docs/donor.rst"


def parsed(text: str) -> ToolchainFile:
    return parse_toolchain_file(tomllib.loads(text), "f.toml")


def one(lines: str) -> str:
    return f'[[toolchain]]\ntriple = "powerpc-linux-gnu"\n{lines}\n'


def test_an_empty_file_restricts_and_adds_nothing() -> None:
    assert parsed("") == ToolchainFile()


def test_everything_that_a_toolchain_can_say() -> None:
    found = parsed(
        'platforms = ["native", "ppc"]\n'
        + one(
            'arch = "powerpc"\nkind = "emulated"\ncc = "gcc -mcpu=603"\nstrip = "true"\n'
            'libc = "glibc"\nlibc_version = "2.31"\nrun = "qemu-ppc -L \'/a b\'"'
        )
    )
    assert found.platforms == ("native", "ppc")
    assert found.toolchains == (
        NamedToolchain(
            "powerpc-linux-gnu", "ppc", OfferKind.EMULATED, {"CC": "gcc -mcpu=603", "STRIP": "true"}, "glibc", "2.31",
            ("qemu-ppc", "-L", "/a b"), "f.toml: toolchain 1 (powerpc-linux-gnu)",
        ),
    )  # fmt: skip


def test_what_is_not_said_is_found_out_and_an_empty_emulator_is_none() -> None:
    (short,) = parsed(one("")).toolchains
    assert (short.arch, short.kind, short.tools, short.libc, short.run) == ("ppc", OfferKind.CROSS, {}, None, None)
    (none,) = parsed(one('run = ""')).toolchains
    assert none.run == ()


@pytest.mark.parametrize(
    ("triple", "arch"),
    [
        ("powerpc64-linux-gnu", "ppc64"), ("aarch64-unknown-linux-musl", "aarch64"),
        ("mips64el-linux-gnuabi64", "mips64el"), ("arm-linux-gnueabihf", "armv7l"),
        ("arm-linux-gnueabi", None), ("vax-linux-gnu", None),
    ],
)  # fmt: skip
def test_a_triple_tells_the_architecture_where_its_name_is_clear(triple: str, arch: str | None) -> None:
    assert arch_of(triple) == arch


@given(st.sampled_from(sorted(TRIPLES)))
def test_a_triple_of_the_table_means_what_the_table_says(triple: str) -> None:
    assert arch_of(triple) == TRIPLES[triple]
    assert arch_of(triple) in ARCHES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("platform = 1", "f.toml: unknown setting 'platform'; there are platforms, toolchain"),
        ('platforms = "ppc"', """f.toml: platforms = 'ppc' is not a list such as ["native", "ppc"]"""),
        ("platforms = []", "f.toml: platforms = [] is not a list"),
        ("platforms = [1]", "f.toml: platforms = [1] is not a list"),
        ("[toolchain]\ntriple='x'", "f.toml: each toolchain is a table of its own under [[toolchain]]"),
        ("toolchain = ['x']", "f.toml: each toolchain is a table of its own under [[toolchain]]"),
        ("[[toolchain]]", "f.toml: toolchain 1: triple = None is not a host triple such as powerpc-linux-gnu"),
        ("[[toolchain]]\ntriple='../up'", "triple = '../up' is not a host triple"),
        ("[[toolchain]]\ntriple=3", "f.toml: toolchain 1: triple = 3 is not one line of text"),
        ("[[toolchain]]\ntriple='vax-linux-gnu'", "the triple does not tell the architecture: add arch"),
        (one("arch = 'vax'"), "toolchain 1 (powerpc-linux-gnu): arch = 'vax' is not one of x86_64, i686"),
        (one("kind = 'foreign'"), "kind = 'foreign' is not one of native, cross, emulated"),
        (one("kind = 'native'\nrun = 'qemu'"), "what is native runs by itself: leave run out, or say kind = 'cross'"),
        (one("gcc = 'x'"), "unknown setting 'gcc'; there are triple, arch, kind, cc, cxx"),
        (one("cc = ''"), "cc = '' is not a command"),
        (one("""cc = "'" """), "cc = \"'\": No closing quotation"),
        (one("run = './qemu -L /'"), "run = './qemu -L /' is neither a name in PATH nor an absolute path"),
        (one("cc = 3"), "cc = 3 is not one line of text"),
        (one('cc = "a\\nb"'), "is not one line of text"),
        (one(f"cc = '{'x' * (COMMAND_LIMIT + 1)}'"), f"is not a command of at most {COMMAND_LIMIT} characters"),
        (one("libc = 'Glibc!'"), "libc = 'Glibc!' is not a name such as glibc or musl"),
        (one("libc_version = 'new'"), "libc_version = 'new' is not a version such as 2.36"),
        (one("") * (TOOLCHAINS_LIMIT + 1), f"{TOOLCHAINS_LIMIT + 1} toolchains are more than {TOOLCHAINS_LIMIT}"),
    ],
)  # fmt: skip
def test_every_mistake_has_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        parsed(text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a = ", ": is not TOML: "), (b"\xff", ": is not TOML: "), (b"#" * (SIZE_LIMIT + 1), "larger than 64 KiB"),
        (b"a = " + b"[" * 60_000, ": is not TOML: "), (b"a = " + b"9" * 5_000, ": is not TOML: "),
    ],
    ids=["syntax", "bytes", "size", "depth", "digits"],
)  # fmt: skip
def test_a_file_that_is_none_has_its_line(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "f.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError) as error:
        load_toolchain_file(path)
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value) or said.removeprefix(": ") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigurationError, match=f"{path}: cannot be read: {why}"):
            load_toolchain_file(path)


leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
rows = st.dictionaries(st.sampled_from(["triple", "arch", "kind", "cc", "run", "libc", "x"]), leaves, max_size=4)


@given(st.dictionaries(st.sampled_from(["platforms", "toolchain", "x"]), leaves | st.lists(rows, max_size=3)))
def test_whatever_stands_in_it_it_is_understood_or_a_configuration_error(data: dict[str, object]) -> None:
    with suppress(ConfigurationError):
        found = parse_toolchain_file(data, "f.toml")
        assert all(one.arch in ARCHES and one.where for one in found.toolchains)


def test_the_example_in_the_manual_is_a_right_one() -> None:
    text = MANUAL.read_text("utf-8").partition(".. code-block:: toml\n")[2]
    block = text.splitlines()[1:]
    end = next(number for number, line in enumerate(block) if line and not line.startswith("   "))
    found = parsed("\n".join(line.strip() for line in block[:end]))
    assert found.platforms is not None
    assert {one.triple for one in found.toolchains} <= {"powerpc-linux-gnu", *found.platforms}
