"""Properties of platforms and machines: which there are, how each compares, and which values are known of them.

Comparison has a direction (docs/integrator.rst): a requirement *libc at most 2.36* is met by a binary that needs
2.31; a requirement *memory at least 4096* by a machine that has 8192.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping

from attrs import frozen

from buildtool.errors import ConfigurationError
from buildtool.model.names import is_short_word
from buildtool.model.options import Kind, Option, written
from buildtool.model.platforms import ARCHES, CPU_LEVELS, LIBCS, Value, compare_versions
from buildtool.model.text import near_word


class Role(enum.Enum):
    """The role of a property: it says where the binary runs (artifact) or who can build it (machine)."""

    ARTIFACT = "artifact"
    MACHINE = "machine"


class Comparison(enum.Enum):
    """The way in which what is offered compares with what is asked for."""

    EXACT = "exact"
    AT_MOST = "at most"
    AT_LEAST = "at least"
    SUBSET = "subset"


@frozen
class Property:
    """A system option: what ``option`` describes, its role, how it compares, and which detector reads it."""

    option: Option
    role: Role
    comparison: Comparison
    detector: str

    @property
    def name(self) -> str:
        return self.option.name

    def describe(self) -> dict[str, object]:
        """Return the description as plain JSON data."""
        return self.option.describe() | {
            "role": self.role.value,
            "comparison": self.comparison.value,
            "detector": self.detector,
        }


def _standard() -> dict[str, Property]:
    artifact, machine = Role.ARTIFACT, Role.MACHINE
    exact, at_most, at_least, subset = (
        Comparison.EXACT, Comparison.AT_MOST, Comparison.AT_LEAST, Comparison.SUBSET,
    )  # fmt: skip
    version = r"[0-9][0-9A-Za-z.+~-]{0,39}"
    rows = (
        (Option("os", Kind.CHOICE, "operating system", choices=("linux", "darwin", "windows", "wasi")), artifact,
         exact),
        (Option("arch", Kind.STRING, "processor architecture (aliases such as amd64 and powerpc are understood)",
                pattern=r"[a-z0-9_]{1,20}", shape="a name such as x86_64, ppc or aarch64"), artifact, exact),
        (Option("bits", Kind.INT, "bits of a pointer", minimum=16, maximum=128), artifact, exact),
        (Option("byteorder", Kind.CHOICE, "byte order", choices=("little", "big")), artifact, exact),
        (Option("libc", Kind.STRING, "C library family", pattern=r"[a-z][a-z0-9_+-]{0,20}",
                shape="a name such as glibc or musl"), artifact, exact),
        (Option("libc_version", Kind.STRING, "newest C library that the binary may need", pattern=version,
                shape="a version such as 2.36"), artifact, at_most),
        (Option("cpu_level", Kind.CHOICE, "highest x86-64 level that the binary may need", choices=CPU_LEVELS),
         artifact, at_most),
        (Option("memory", Kind.INT, "memory that the build needs, in MiB", minimum=1, maximum=2**32), machine,
         at_least),
        (Option("cpus", Kind.INT, "processors that the build needs", minimum=1, maximum=2**16), machine, at_least),
        (Option("disk", Kind.INT, "free disk that the build needs, in MiB", minimum=1, maximum=2**40), machine,
         at_least),
        (Option("tools", Kind.SET, "programs that the build needs, such as gcc,make"), machine, subset),
    )  # fmt: skip
    return {option.name: Property(option, role, comparison, option.name) for option, role, comparison in rows}


STANDARD: dict[str, Property] = _standard()
"""The properties that most projects need, by name; see docs/integrator.rst for their roles and directions."""

DETECTORS: frozenset[str] = frozenset(STANDARD) | {"os_release", "tool_versions", "cc_version"}
"""The names of all detectors: what a Property may say that it is read by."""


def standard(*names: str) -> tuple[Property, ...]:
    """Return the standard properties of these names, all of them when none is named. Raises ConfigurationError."""
    unknown = [name for name in names if name not in STANDARD]
    if unknown:
        raise ConfigurationError(f"no standard property {unknown[0]!r}; there are {', '.join(STANDARD)}")
    return tuple(STANDARD[name] for name in names or STANDARD)


def comparison_of(name: str) -> Comparison:
    """Return how the property of this name compares; an unknown one compares exactly."""
    known = STANDARD.get(name)
    return known.comparison if known else Comparison.EXACT


def meets(comparison: Comparison, wanted: Value, have: Value | None) -> bool:
    """Return whether ``have`` meets what is ``wanted``. An absent value meets nothing.

    For ``SUBSET`` every wanted member must be had; versions and CPU levels compare by number.
    """
    if have is None:
        return False
    if comparison is Comparison.SUBSET:
        return isinstance(wanted, tuple) and isinstance(have, tuple) and set(wanted) <= set(have)
    if comparison is Comparison.EXACT:
        return type(wanted) is type(have) and wanted == have
    order = ordered(have, wanted)
    if order is None:
        return False
    return order <= 0 if comparison is Comparison.AT_MOST else order >= 0


def ordered(left: Value, right: Value) -> int | None:
    """Return -1, 0 or 1, or None where the two cannot be ordered."""
    if isinstance(left, int) and isinstance(right, int):
        return (left > right) - (left < right)
    if not (isinstance(left, str) and isinstance(right, str)):
        return None
    if left == right:
        return 0  # as mostly, and then nothing has to be taken apart
    if (left in CPU_LEVELS) != (right in CPU_LEVELS):
        return None
    return compare_versions(left, right)


ENUMERATED: Mapping[str, Collection[Value]] = {
    "arch": tuple(ARCHES),
    "bits": tuple(sorted({arch.bits for arch in ARCHES.values()})),
    "libc": tuple(LIBCS),
}
"""What is known of the properties whose values are names, besides what build servers offer."""

COUNTED = (*ENUMERATED, "os", "byteorder", "os_release", "cc_version")
"""Of what else it is known which values build servers offer, so that what none does is said."""

SHOWN = 24
"""At most so many values are named in one message."""

TOOLS = (
    "ar", "autoconf", "automake", "awk", "bash", "bc", "bison", "bzip2", "c++", "cargo", "cc", "ccache", "clang",
    "clang++", "cmake", "curl", "diff", "doxygen", "file", "find", "flex", "g++", "gawk", "gcc", "gfortran", "git",
    "gmake", "go", "grep", "gzip", "java", "javac", "ld", "libtool", "m4", "make", "makeinfo", "meson", "nasm", "ninja",
    "node", "openssl", "patch", "perl", "pkg-config", "python3", "rsync", "ruby", "rustc", "sccache", "sed", "strip",
    "tar", "tclsh", "unzip", "wget", "xz", "yasm", "zip", "zstd",
)  # fmt: skip
"""The programs that every build server looks for, besides those that its projects name."""


def may_be_named(value: Value) -> bool:
    """Return whether a peer's value may be named to others: it is a number or a short word."""
    return isinstance(value, int) or (isinstance(value, str) and is_short_word(value))


def nearest(name: str, known: Iterable[object]) -> str:
    """Return the end of a sentence that names what ``name`` comes nearest to, or else what there is."""
    words = [written(one) if isinstance(one, str | int | tuple) else str(one) for one in known]
    if near := near_word(name, words):
        return f": did you mean {near}?"
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return f"; there {'are' if len(words) > 1 else 'is'} {', '.join(words[:SHOWN])}{more}" if words else ""
