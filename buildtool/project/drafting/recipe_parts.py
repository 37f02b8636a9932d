"""The part of a new project's configuration that each build system has of its own: its recipe, and what that takes.

Covered by tests/project/drafting/test_drafts.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen

from buildtool.project.drafting.sources import SourcesLook, Switch

_FAULTS = """\
        # Where one of these matches the end of the log, the machine is at fault and not the project.
        machine_faults=[r"No space left on device", r"[Cc]annot allocate memory"],
"""


@frozen
class DraftPart:
    """The part of a configuration that depends on the build system: the body of its recipe, and what that takes.

    ``options`` are further options, as lines; ``for_platform`` says that what is made is a binary of a platform.
    """

    plan: str
    tools: tuple[str, ...]
    options: str = ""
    for_platform: bool = True
    quotes: bool = False
    declines: bool = False


def _flags(switches: tuple[Switch, ...]) -> str:
    def line(one: Switch) -> str:
        default = "default=True, " if one.default else ""
        return f"    flag({one.option!r}, {default}help={one.help or f'{one.spelled} of the sources'!r}),\n"

    return "".join(map(line, switches))


def _choices(switches: tuple[Switch, ...]) -> str:
    """Return how a recipe names switches: a dictionary from what the sources call each to its option."""
    listed = "".join(f"        {one.spelled!r}: {one.option!r},\n" for one in switches)
    return f"    switches = {{\n{listed}    }}\n" if switches else ""


def _delivered(files: tuple[str, ...]) -> str:
    return "".join(f"            {name!r},\n" for name in files)


# --- each build system ----------------------------------------------------------------------------------------


def _cargo(look: SourcesLook, name: str) -> DraftPart:
    vendored = "vendored" in look.facts and "configured" not in look.facts
    crate = f"lib{(look.name or name).replace('-', '_')}.rlib"
    made = tuple(f"target/release/{program}" for program in look.makes or (crate,))
    plan = """\
    if wanted.kind == "cross":  # it would take rustc's libraries for that platform; this declines, and is no failure
        raise ToolMissing("this recipe builds for the machine's own platform only")
"""
    if look.switches:
        plan += _choices(look.switches)
        plan += "    features = [feature for feature, option in switches.items() if wanted.options[option]]\n"
    plan += '    words = ["cargo", "build", "--release", "--offline", f"-j{wanted.cpus}"]\n'
    plan += '    words += ["--locked"]\n' if "locked" in look.facts else ""
    if vendored:
        plan += """\
    # The crates in vendor/ stand for those of crates.io, so that a build server needs no network.
    words += ["--config", 'source.crates-io.replace-with="vendored"']
    words += ["--config", 'source.vendored.directory="vendor"']
"""
    elif "locked" in look.facts and "configured" not in look.facts:
        plan += """\
    # There is no vendor/: crates of others are not found with --offline. `cargo vendor` brings them; or
    # leave it out, and each build fetches them.
"""
    plan += '    words += ["--features", ",".join(features)] if features else []\n' if look.switches else ""
    plan += f"""\
    return Plan(
        commands=[Command(words, name="build")],
        # Neither the directory of the build nor that of the crates may get into the binary.
        environment={{"RUSTFLAGS": f"--remap-path-prefix={{wanted.source}}=. -Cstrip=symbols"}},
        deliverables=[
{_delivered(made)}        ],
{_FAULTS}    )
"""
    return DraftPart(plan, ("cargo", "rustc", "cc"), _flags(look.switches), declines=True)


def _go(look: SourcesLook, _name: str) -> DraftPart:
    listed = ", ".join(repr(name) for name in look.makes)
    package = 'f"./cmd/{name}"' if "commands" in look.facts else '"."'
    vendor = '"-mod=vendor"' if "vendored" in look.facts else '"-mod=mod"'
    plan = f"""\
    # Go is its own cross compiler. What it does not know, it refuses by itself.
    arches = {{
        "x86_64": "amd64", "aarch64": "arm64", "x86": "386", "ppc64le": "ppc64le", "s390x": "s390x",
        "riscv64": "riscv64",
    }}
    arch = arches.get(str(wanted.platform.get("arch")))
    if arch is None:
        raise ToolMissing("go is not known to build for that architecture")
    environment = {{
        "GOOS": str(wanted.platform.get("os")),
        "GOARCH": arch,
        "CGO_ENABLED": "0",  # so that it needs no C compiler, and no C library where it runs
        "GOFLAGS": {vendor},
        "GOPROXY": "off",  # nothing is fetched: `go mod vendor` brings what others wrote
        "GOTOOLCHAIN": "local",
    }}
    # Neither the directory of the build nor anything of this machine may get into the binary.
    words = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", f"-p={{wanted.cpus}}"]
    programs = [{listed}]
    return Plan(
        commands=[Command([*words, "-o", f"out/{{name}}", {package}], name=f"build {{name}}") for name in programs],
        environment=environment,
        deliverables=[f"out/{{name}}" for name in programs],
{_FAULTS}    )
"""
    return DraftPart(plan, ("go",), declines=True)


def _cmake(look: SourcesLook, name: str) -> DraftPart:
    compilers = ["C", "CXX"] if "c++" in look.facts else ["C"]
    plan = """\
    # Nothing that names the directory may get into the binary, or two machines would make different ones.
    flags = f"-ffile-prefix-map={wanted.source}=."
    settings = [
        "-DCMAKE_BUILD_TYPE=Release",
        "-DCMAKE_INSTALL_PREFIX=/",
        "-DCMAKE_SKIP_RPATH=ON",
"""
    for language in compilers:
        role = "CC" if language == "C" else "CXX"
        plan += f'        f"-DCMAKE_{language}_COMPILER={{wanted.tools[{role!r}]}}",\n'
        plan += f'        f"-DCMAKE_{language}_FLAGS={{flags}}",\n'
    plan += "    ]\n"
    plan += """\
    if wanted.kind == "cross":
        settings += ["-DCMAKE_SYSTEM_NAME=Linux", f"-DCMAKE_SYSTEM_PROCESSOR={wanted.platform.get('arch')}"]
        if wanted.emulator:
            settings.append(f"-DCMAKE_CROSSCOMPILING_EMULATOR={';'.join(wanted.emulator)}")
"""
    if look.switches:
        plan += _choices(look.switches)
        plan += """\
    for name, option in switches.items():
        settings.append(f"-D{name}={'ON' if wanted.options[option] else 'OFF'}")
"""
    plan += """\
    commands = [
        Command(["cmake", "-S", ".", "-B", "build", *settings], name="configure"),
        Command(["cmake", "--build", "build", f"-j{wanted.cpus}"], name="build"),
    ]
"""
    if "tests" in look.facts:
        plan += """\
    if wanted.can_run:
        commands.append(Command(["ctest", "--test-dir", "build", "--output-on-failure"], name="self-check"))
"""
    if "installs" in look.facts:
        plan += '    commands.append(Command(["cmake", "--install", "build", "--prefix", "out"], name="install"))\n'
        made: tuple[str, ...] = ("out",)
    else:
        made = tuple(f"build/{program}" for program in look.makes or (name,))
    plan += f"""\
    return Plan(
        commands=commands,
        deliverables=[
{_delivered(made)}        ],
{_FAULTS}    )
"""
    tools = ("cmake", "make", "gcc", *(("g++",) if "c++" in look.facts else ()))
    return DraftPart(plan, tools, _flags(look.switches))


_OPTIMIZE = '    choice("optimize", ["2", "3", "s", "0"], help="optimisation level of the compiler"),\n'


def _autoconf(look: SourcesLook, _name: str) -> DraftPart:
    plan = """\
    # Nothing that names the directory may get into the binary, or two machines would make different ones.
    cflags = f"-O{wanted.options['optimize']} " + shlex.quote(f"-ffile-prefix-map={wanted.source}=.")
    # No prefix: there is no such place, and "/" would have paths begin with "//", which some tools take for another's.
    words = ["./configure", "--prefix=", f"CC={wanted.tools['CC']}", f"CFLAGS={cflags}"]
    if wanted.kind == "cross":
        words.append(f"--host={wanted.tools['HOST']}")
"""
    if look.switches:
        plan += _choices(look.switches)
        plan += """\
    for name, option in switches.items():
        words.append(f"--{'enable' if wanted.options[option] else 'disable'}-{name}")
"""
    if "generated" in look.facts:
        tools: tuple[str, ...]
        first, tools = '["autoreconf", "-fi"], name="autoreconf"', ("autoconf", "automake", "make", "gcc")
    else:  # not every archive keeps its mode
        first, tools = '["chmod", "+x", "configure"], name="configure: mode"', ("make", "gcc")
    plan += f"""\
    return Plan(
        commands=[
            Command({first}),
            Command(words, name="configure"),
            Command(["make", f"-j{{wanted.cpus}}"], name="build"),
            Command(["make", "install", f"DESTDIR={{wanted.source}}/out"], name="install"),
        ],
        deliverables=["out"],
{_FAULTS}    )
"""
    return DraftPart(plan, tools, _OPTIMIZE + _flags(look.switches), quotes=True)


def _python(look: SourcesLook, _name: str) -> DraftPart:
    plan = f"""\
    # The build backend itself is called, as pip would do it, and nothing is fetched: what it needs is installed here.
    script = "import os; os.makedirs('dist'); from {look.backend} import build_wheel; print(build_wheel('dist'))"
    return Plan(
        commands=[Command(["python3", "-c", script], name="wheel")],
        # Its name says the version, so the directory is delivered.
        deliverables=["dist"],
{_FAULTS}    )
"""
    return DraftPart(plan, ("python3",), for_platform="compiled" in look.facts)


def _npm(look: SourcesLook, _name: str) -> DraftPart:
    lines = []
    if "depends" in look.facts:
        how = "ci" if "locked" in look.facts else "install"
        lines.append(f'            Command(["npm", "{how}", "--no-audit", "--no-fund"], name="dependencies"),\n')
    if "builds" in look.facts:
        lines.append('            Command(["npm", "run", "build"], name="build"),\n')
    if "tests" in look.facts:
        lines.append('            Command(["npm", "test"], name="self-check"),\n')
    plan = f"""\
    return Plan(
        commands=[
{"".join(lines)}            Command(["mkdir", "-p", "out"], name="place"),
            Command(["npm", "pack", "--ignore-scripts", "--pack-destination", "out"], name="package"),
        ],
        environment={{"CI": "true", "npm_config_update_notifier": "false"}},
        # The package's name says the version, so the directory is delivered.
        deliverables=["out"],
{_FAULTS}    )
"""
    return DraftPart(plan, ("node", "npm"), for_platform=False)


def _make(look: SourcesLook, name: str) -> DraftPart:
    plan = ""
    variables = []
    if "CC" in look.facts:
        variables.append("f\"CC={wanted.tools['CC']}\"")
    if "CFLAGS" in look.facts:
        plan += """\
    # Nothing that names the directory may get into the binary, or two machines would make different ones.
    cflags = f"-O{wanted.options['optimize']} " + shlex.quote(f"-ffile-prefix-map={wanted.source}=.")
"""
        variables.append('f"CFLAGS={cflags}"')
    plan += f"    variables = [{', '.join(variables)}]\n"
    plan += '    commands = [Command(["make", f"-j{wanted.cpus}", *variables], name="build")]\n'
    for target in ("check", "test"):
        if target in look.facts:
            plan += f"""\
    if wanted.kind != "cross":
        commands.append(Command(["make", "{target}", *variables], name="self-check"))
"""
            break
    made = look.makes
    if "install" in look.facts and "DESTDIR" in look.facts:
        words = '["make", "install", *variables, f"DESTDIR={wanted.source}/out"]'
        plan += f'    commands.append(Command({words}, name="install"))\n'
        made = ("out",)
    elif not made:
        plan += "    # The makefile does not say what it makes: name that below.\n"
        made = (name,)
    plan += f"""\
    return Plan(
        commands=commands,
        # What has to be there when the commands are done, and goes into the artifact: files or directories.
        deliverables=[
{_delivered(made)}        ],
{_FAULTS}    )
"""
    quotes = "CFLAGS" in look.facts
    return DraftPart(plan, ("make", "gcc"), _OPTIMIZE if quotes else "", quotes=quotes)


PARTS: Mapping[str, Callable[[SourcesLook, str], DraftPart]] = {
    "cargo": _cargo, "go": _go, "cmake": _cmake, "autoconf": _autoconf, "python": _python, "npm": _npm, "make": _make,
}  # fmt: skip
"""By build system what makes its part, of a look and the project's name."""
