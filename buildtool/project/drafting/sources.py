"""How sources are built, as far as their files say: which build system, what it makes, and what may be chosen there.

Only texts are looked at; nothing of the sources is run. Whatever is not understood is left out.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from buildtool.errors import UsageError
from buildtool.model.options import is_option_name
from buildtool.model.project_options import RESERVED, TOOL_OPTIONS
from buildtool.model.properties import STANDARD
from buildtool.model.text import one_line

LOOKED_AT = (
    "Cargo.toml", "go.mod", "CMakeLists.txt", "configure", "configure.ac", "configure.in", "pyproject.toml", "setup.py",
    "setup.cfg", "package.json", "GNUmakefile", "makefile", "Makefile",
)  # fmt: skip
"""The files by which a build system is known; each is read."""

SWITCHES = 20
"""Most switches of the sources that become options."""

HELP_LIMIT = 100
"""Most characters of a switch's own explanation."""

_VARIABLE = re.compile(r"\$[({](\w+)[)}]")

_OF_ALL = frozenset(
    "option-checking silent-rules dependency-tracking maintainer-mode shared static fast-install".split()
)
"""What autoconf and its friends let everything switch."""

_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")


@frozen
class Switch:
    """One thing that can be switched on or off when the sources are built: as they call it, and the option's name."""

    spelled: str
    option: str
    default: bool = False
    help: str = ""


@frozen
class SourcesLook:
    """The result of a look. ``system`` is the build system, ``name`` what the sources call themselves, or "".

    ``makes`` are files that are made, as far as they are known; ``facts`` are words about the sources that a draft goes
    by. ``backend`` is the module that builds a Python wheel.
    """

    system: str
    name: str = ""
    makes: tuple[str, ...] = ()
    switches: tuple[Switch, ...] = ()
    facts: frozenset[str] = frozenset()
    backend: str = ""


def look(texts: Mapping[str, str], names: frozenset[str]) -> SourcesLook:
    """Return what sources tell: ``texts`` are files among LOOKED_AT, ``names`` all paths of the first three levels.

    Raises UsageError where none of these files is there.
    """
    for system, files, read in _SYSTEMS:
        if any(name in texts for name in files):
            return read(system, texts, names)
    raise UsageError(f"nothing there tells how it is built: none of {', '.join(LOOKED_AT)}")


# --- each build system ----------------------------------------------------------------------------------------


def _cargo(system: str, texts: Mapping[str, str], names: frozenset[str]) -> SourcesLook:
    said = _toml(texts["Cargo.toml"])
    name = _text(_table(said, "package").get("name"))
    listed = said.get("bin")
    programs = [_text(one.get("name")) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    if "src/main.rs" in names and name and name not in programs:
        programs.insert(0, name)
    facts = {fact for fact, there in (
        ("vendored", "vendor" in names),
        ("configured", bool({".cargo/config.toml", ".cargo/config"} & names)),
        ("locked", "Cargo.lock" in names),
    ) if there}  # fmt: skip
    features = [Switch(one, _option(one)) for one in _table(said, "features") if one != "default"]
    return SourcesLook(system, project_name(name), _files(programs), _usable(features), frozenset(facts))


def _go(system: str, texts: Mapping[str, str], names: frozenset[str]) -> SourcesLook:
    said = next((line.split() for line in texts["go.mod"].splitlines() if line.startswith("module")), [])
    parts = said[1].strip('"').split("/") if len(said) > 1 else []
    if len(parts) > 1 and parts[-1][:1] == "v" and parts[-1][1:].isdigit():  # of a later version
        parts.pop()
    name = project_name(parts[-1] if parts else "")
    paths = [path.split("/") for path in sorted(names) if path.endswith(".go")]
    commands = list(
        dict.fromkeys(path[1] for path in paths if len(path) == len(("cmd", "x", "x.go")) and path[0] == "cmd")
    )
    above = any(len(path) == 1 for path in paths)
    makes = (name or "program",) if above and not commands else _files(commands)
    facts = {"vendored"} if "vendor" in names else set()
    return SourcesLook(system, name, makes, (), frozenset(facts | ({"commands"} if commands else set())))


def _cmake(system: str, texts: Mapping[str, str], _names: frozenset[str]) -> SourcesLook:
    calls = _calls("\n".join(line.partition("#")[0] for line in texts["CMakeLists.txt"].splitlines()))
    project = next((words.split() for name, words in calls if name == "project"), [])
    switches = []
    for words in (words for name, words in calls if name == "option"):
        spelled, _, quoted = words.partition('"')
        said, closed, default = quoted.partition('"')
        if closed:
            on = default.strip().upper() in ("ON", "TRUE", "YES", "1")
            switches.append(Switch(spelled.strip(), _option(spelled), on, said))
    programs = [words.split()[0] for name, words in calls if name == "add_executable" and words.split()]
    made = {name for name, _ in calls}
    facts = {"installs"} if "install" in made else set()
    tests = "enable_testing" in made or any(name == "include" and words.strip() == "CTest" for name, words in calls)
    facts |= {"tests"} if tests else set()
    languages = [word.upper() for word in project]
    if "CXX" in languages or "LANGUAGES" not in languages:
        facts.add("c++")
    name = project_name(project[0].strip('"') if project else "")
    return SourcesLook(system, name, _files(programs), _usable(switches), frozenset(facts))


def _calls(text: str) -> list[tuple[str, str]]:
    """Return names, in small letters, with what stands in the parentheses after each: of CMake, and of autoconf."""
    found = []
    for before, after in itertools.pairwise(text.split("(")):
        words = before.rpartition(")")[2].split()
        if words:
            found.append((words[-1].lower(), after.partition(")")[0]))
    return found


def _autoconf(system: str, texts: Mapping[str, str], _names: frozenset[str]) -> SourcesLook:
    text = texts.get("configure.ac") or texts.get("configure.in") or ""
    calls = [
        (name.lstrip("["), [word.strip(" []\n\t") for word in words.split(",", 1)]) for name, words in _calls(text)
    ]
    name = next((words[0] for called, words in calls if called == "ac_init"), "")
    said = [(words[0], words[-1]) for called, words in calls if called == "as_help_string"]
    listed = [f"--enable-{words[0]}" for called, words in calls if called == "ac_arg_enable"]
    for line in texts.get("configure", "").splitlines():
        if line[:1] == " " and line.strip().startswith(("--enable-", "--disable-")):
            word, *more = line.split(maxsplit=1)
            said.append((word, "".join(more)))
            listed.append(word)
        name = name or line.partition("PACKAGE_TARNAME='")[2].partition("'")[0]
    # What can be left out is there by itself: configure's own help says --disable-x for that.
    helps = {word.partition("-")[2]: text for word, text in reversed(said)}
    found: dict[str, Switch] = {}
    for word in listed:
        one = word.removeprefix("--enable-").removeprefix("--disable-")
        on = f"-disable-{one}" in helps
        if one.lower() not in _OF_ALL and "[" not in one and one != "FEATURE":
            found.setdefault(
                one, Switch(one, _option(one), on, helps.get(f"-{'disable' if on else 'enable'}-{one}", ""))
            )
    facts = set() if "configure" in texts else {"generated"}
    return SourcesLook(system, project_name(name), (), _usable([*found.values()]), frozenset(facts))


def _python(system: str, texts: Mapping[str, str], names: frozenset[str]) -> SourcesLook:
    said = _toml(texts.get("pyproject.toml", ""))
    name = _text(_table(said, "project").get("name"))
    if not name:
        every = texts.get("setup.cfg", "") + "\n" + texts.get("setup.py", "")
        lines = (line.strip(" \t,").partition("=") for line in every.splitlines())
        name = next((value.partition(",")[0].strip(" \"'") for key, _, value in lines if key.strip() == "name"), "")
    backend = _text(_table(said, "build-system").get("build-backend")) or "setuptools.build_meta"
    compiled = "ext_modules" in texts.get("setup.py", "") or any(path.endswith((".pyx", ".c", ".rs")) for path in names)
    usable = all(part.isidentifier() and part.isascii() for part in backend.split("."))
    if not usable or _table(said, "build-system").get("backend-path"):
        raise UsageError("its pyproject.toml has a build backend of its own: write config.py by hand")
    return SourcesLook(system, project_name(name), (), (), frozenset({"compiled"} if compiled else ()), backend)


def _npm(system: str, texts: Mapping[str, str], names: frozenset[str]) -> SourcesLook:
    try:
        said = json.loads(texts["package.json"])
    except (ValueError, RecursionError) as error:
        raise UsageError(f"package.json cannot be read: {one_line(str(error))[:100]}") from error
    table = said if isinstance(said, dict) else {}
    facts = {fact for fact, there in (
        ("locked", bool({"package-lock.json", "npm-shrinkwrap.json"} & names)),
        ("builds", "build" in _table(table, "scripts")),
        ("tests", "test" in _table(table, "scripts")),
        ("depends", bool(_table(table, "dependencies") or _table(table, "devDependencies"))),
    ) if there}  # fmt: skip
    return SourcesLook(system, project_name(_text(table.get("name")).rpartition("/")[2]), (), (), frozenset(facts))


def _make(system: str, texts: Mapping[str, str], _names: frozenset[str]) -> SourcesLook:
    text = next(texts[name] for name in _MAKEFILES if name in texts).replace("\\\n", " ")
    values: dict[str, str] = {}
    targets: dict[str, list[str]] = {}
    for line in (line.partition("#")[0] for line in text.splitlines() if not line.startswith("\t")):
        name, assigned, value = line.partition("=")
        if assigned and name.strip(" \t:?+").isidentifier():
            values[name.strip(" \t:?+")] = value.strip()
            continue
        before, colon, needs = line.partition(":")
        if colon and not assigned:
            for target in _expanded(before, values).split():
                targets.setdefault(target, []).extend(_expanded(needs.strip(":").partition(";")[0], values).split())
    plain = [name for name in targets if not name.startswith(".")]
    first = "all" if "all" in targets else plain[0] if plain else ""
    phony = set(targets.get(".PHONY", ()))
    made = [name for name in targets.get(first, ()) if name not in phony]
    if first not in {"", "all", *phony}:
        made = [first]
    facts = {"check", "test", "install"} & targets.keys()
    for name in ("CC", "CFLAGS", "DESTDIR"):
        if name in values or f"$({name})" in text or f"${{{name}}}" in text:
            facts.add(name)
    return SourcesLook(system, "", _files(made), (), frozenset(facts))


def _expanded(text: str, values: Mapping[str, str]) -> str:
    """Return a makefile's words with its plain variables in their places, three deep."""
    for _ in range(3):
        text = _VARIABLE.sub(lambda found: values.get(found[1], ""), text)[:10_000]
    return text


_Reader = Callable[[str, Mapping[str, str], frozenset[str]], SourcesLook]

_SYSTEMS: tuple[tuple[str, tuple[str, ...], _Reader], ...] = (
    ("cargo", ("Cargo.toml",), _cargo),
    ("go", ("go.mod",), _go),
    ("cmake", ("CMakeLists.txt",), _cmake),
    ("autoconf", ("configure", "configure.ac", "configure.in"), _autoconf),
    ("python", ("pyproject.toml", "setup.py"), _python),
    ("npm", ("package.json",), _npm),
    ("make", _MAKEFILES, _make),
)
"""In this order: a makefile stands beside many of the others, and then calls them."""


# --- what is read of them -------------------------------------------------------------------------------------


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"its TOML cannot be read: {one_line(str(error))[:100]}") from error


def _table(said: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = said.get(name)
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def project_name(text: str) -> str:
    """Return a text as a project may be called: letters, digits, ``-`` and ``_``, at most 40; "" where none is left."""
    return _joined(text, "-_", "-").strip("-_")[:40]


def _option(spelled: str) -> str:
    return _joined(spelled.lower(), "", "_").strip("_")


def _joined(text: str, also: str, between: str) -> str:
    """Return ASCII letters, digits and what is in ``also``, with ``between`` in place of each row of others."""
    plain = "".join(char if char.isascii() and (char.isalnum() or char in also) else "\0" for char in text)
    return between.join(part for part in plain.split("\0") if part)


def _usable(switches: list[Switch]) -> tuple[Switch, ...]:
    """Return those that can be options, each name once."""
    found: dict[str, Switch] = {}
    for one in switches:
        if is_option_name(one.option) and one.option not in _TAKEN and one.option not in found:
            said = one_line(one.help)[:HELP_LIMIT]
            found[one.option] = Switch(one.spelled, one.option, one.default, said)
    return tuple(found.values())[:SWITCHES]


_TAKEN = RESERVED | {option.name for option in TOOL_OPTIONS} | STANDARD.keys()


def _files(names: list[str]) -> tuple[str, ...]:
    """Return names that are plain ones of files, each once."""
    return tuple(dict.fromkeys(name for name in names if name[:1].isalnum() and _joined(name, "._+-", "/") == name))
