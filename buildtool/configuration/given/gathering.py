"""Gathers what is given to a program beside its command line. Pure: of options, environment and text of a file.

One rule gives each option and each setting of ``config.py`` its variable and its name in the file (``names.py``). The
environment goes before the file, and what is said for one program before what is said for all.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from buildtool.configuration.finding import at_home
from buildtool.configuration.given.names import (
    COMMAS,
    EACH_TIME,
    FILES,
    FILES_BY_NAME,
    MAIL,
    ONE_OF,
    OTHERWISE,
    PREFIX,
    PROGRAMS,
    SECRETS,
    SETTINGS,
    SHARED,
    SettingKind,
    option_name,
    variable,
)
from buildtool.configuration.given.toml_text import tables_of
from buildtool.configuration.given.values import Given, GivenValue, SettingsText
from buildtool.errors import BuildToolError, ConfigurationError, EmptySecret
from buildtool.model.properties import nearest
from buildtool.model.text import near_word, quoted

Options = Mapping[str, Mapping[str, Any]]
"""What ``add_argument`` takes for each option, by its flag."""

_SERVICE = ("tcp://", "udp://", "sctp://")
"""How values begin that Kubernetes gives to variables of its own, after the names of services."""

_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_DIGITS = 18
_BETWEEN = ";"
"""What stands between several values of a variable, where an option may be said several times."""


@frozen
class _Raw:
    """A value as it was given; ``beside`` is where the file lies in which it stands, None for a variable."""

    name: str
    value: object
    origin: str
    beside: Path | None = None

    @property
    def is_text(self) -> bool:
        return self.beside is None


def gather(program: str, options: Options, environment: Mapping[str, str], file: SettingsText | None) -> Given:
    """Return what is given to a program that has these options.

    Raises ConfigurationError, in one line that names what gave it, for an unknown name or a value that is not usable;
    EmptySecret for a secret that is empty, or in a file that every account of the machine may read.
    """
    flags = {option_name(flag): how for flag, how in options.items()}
    shared = [*SETTINGS, *SHARED]
    found: dict[str, _Raw] = {}
    chosen: dict[str, _Raw] = {}
    for source in (_of_file(program, flags, file), _of_environment(program, flags, shared, environment)):
        mine: dict[str, _Raw] = {}
        for own, raw in source:
            if (own and raw.name in flags) or raw.name in SHARED:
                chosen[raw.name] = raw
            else:
                mine[raw.name] = raw
        if any(name in mine for name in ONE_OF):
            found = {name: raw for name, raw in found.items() if name not in ONE_OF}
        found |= mine
    made = {}
    for raw in chosen.values():
        how = flags.get(raw.name)
        if how is None and raw.name in ("token", "join"):
            how = {}
        if how is not None:
            name = how.get("dest") or raw.name
            made[name] = GivenValue(raw.name, _option(raw, how), raw.origin, raw.name in SECRETS, raw.value)
    settings = {
        raw.name: GivenValue(raw.name, _setting(raw), raw.origin, raw.name in SECRETS, raw.value)
        for raw in found.values()
    }
    return Given(program, None if file is None else file.path, made, settings)


# --- the environment --------------------------------------------------------------------------------------


def _of_environment(
    program: str, flags: Iterable[str], shared: Iterable[str], environment: Mapping[str, str]
) -> Iterator[tuple[bool, _Raw]]:
    """Yield what variables give, what is for all programs first, and whether it is for this one."""
    for own, names in ((False, shared), (True, [*SETTINGS, *SHARED, *flags])):
        if own and not program:
            continue
        for name in dict.fromkeys(names):
            which = variable(name, program if own else "")
            text = environment.get(which)
            if text is None or text.startswith(_SERVICE):
                continue
            if not text.strip() and name in SECRETS - {"join"}:
                raise EmptySecret(f"${which}: the secret is empty: give it, or unset the variable")
            if text:
                if name in EACH_TIME:
                    raise _each_time(f"${which}", name)
                yield own, _Raw(name, text, f"${which}")
    if program:
        _refuse_unknown(program, [*SETTINGS, *SHARED, *flags], environment)


def _refuse_unknown(program: str, names: Iterable[str], environment: Mapping[str, str]) -> None:
    """Raise ConfigurationError for a variable of this program that there is not, and that Kubernetes did not make."""
    known = {variable(name, program) for name in names}
    begin = variable(program) + "_"
    for which, text in environment.items():
        if which.startswith(begin) and which not in known and text:
            if text.startswith(_SERVICE) or _of_service(which):
                continue
            raise ConfigurationError(f"${which[:80]} sets nothing{_near(which, known)}")


def _of_service(which: str) -> bool:
    """Return whether Kubernetes made a variable of this name, after a service: of its host, or one of its ports."""
    one_port = "_PORT_" in which and any(f"_{one}" in which for one in ("TCP", "UDP", "SCTP"))
    return which.endswith("_SERVICE_HOST") or "_SERVICE_PORT" in which or one_port


# --- the file ---------------------------------------------------------------------------------------------


def _of_file(program: str, flags: Mapping[str, object], file: SettingsText | None) -> Iterator[tuple[bool, _Raw]]:
    """Yield what the file gives, what is for all programs first, and whether it is for this one."""
    if file is None:
        return
    try:
        tables = tables_of(file.text)
    except ValueError as error:
        raise ConfigurationError(f"{file.path}: is not TOML: {error}") from error
    _check_secrets(file, tables)
    for name, value in tables.items():
        if name in PROGRAMS:
            if not isinstance(value, dict):
                raise ConfigurationError(f"{file.path}: {name} is a table: write [{name}] in a line of its own")
            continue
        if name not in SETTINGS and name not in SHARED and name != MAIL:
            raise _unknown(file.path, name, value, program, flags)
        yield from ((False, raw) for raw in _named(file.path, "", name, value))
    for name, value in tables.get(program, {}).items():
        known = [*flags, *SETTINGS, MAIL, *SHARED]
        if name not in known:
            raise ConfigurationError(f"{file.path}: unknown name {quoted(name)} in [{program}]{nearest(name, known)}")
        if name in EACH_TIME:
            raise _each_time(f"{file.path}: [{program}] {name}", name)
        yield from ((True, raw) for raw in _named(file.path, f"[{program}] ", name, value, option=name in flags))


def _named(path: Path, table: str, name: str, value: object, *, option: bool = False) -> Iterator[_Raw]:
    """Yield one name of the file with its value, or each name of the table for mail."""
    if name != MAIL or not isinstance(value, dict):
        if name == MAIL and not option:
            raise ConfigurationError(f"{path}: mail is a table: write [mail], and below it host = ...")
        yield _Raw(name, value, f"{path}: {table}{name}", path.parent)
        return
    known = [one.partition(".")[2] for one in SETTINGS if one.startswith(f"{MAIL}.")]
    for one, said in value.items():
        if one not in known:
            raise ConfigurationError(f"{path}: unknown name {quoted(one)} of mail{nearest(one, known)}")
        yield _Raw(f"{MAIL}.{one}", said, f"{path}: {table}mail.{one}", path.parent)


def _unknown(path: Path, name: str, value: object, program: str, flags: Mapping[str, object]) -> ConfigurationError:
    """Return the error for a name that stands at the top and is none of those that all programs have."""
    table = OTHERWISE.get(name) if isinstance(value, dict) else None
    if table is not None:
        return ConfigurationError(f"{path}: there is no table [{name}]: it is called [{table}]")
    if name in flags:
        return ConfigurationError(f"{path}: {name} is for one program alone: it belongs into [{program}]")
    known = [*SETTINGS, *SHARED, MAIL, *PROGRAMS]
    near = near_word(name, known) or near_word(name, flags)
    hint = f": did you mean {near}?" if near else f" (options of one program stand in its table, such as [{program}])"
    return ConfigurationError(f"{path}: unknown name {quoted(name)}{hint}")


def _check_secrets(file: SettingsText, tables: Mapping[str, object]) -> None:
    """Raise EmptySecret for a secret that is empty, or that every account of the machine may read."""
    for within, table in (("", tables), *((name, tables.get(name)) for name in PROGRAMS)):
        if not isinstance(table, dict):
            continue
        mail = table.get(MAIL)
        said = {**table, **({f"{MAIL}.{one}": value for one, value in mail.items()} if isinstance(mail, dict) else {})}
        for name in sorted(SECRETS & said.keys()):
            where = f"{file.path}: {f'[{within}] ' if within else ''}{name}"
            if file.open_to_all:
                raise EmptySecret(f"{where} is a secret, and everybody on this machine may read it: chmod 640 the file")
            if isinstance(said[name], str) and not str(said[name]).strip():
                raise EmptySecret(f"{where}: the secret is empty: give it, or leave it out")


def _each_time(where: str, name: str) -> ConfigurationError:
    flag = name.replace("_", "-")
    return ConfigurationError(f"{where} is not given for good: say --{flag} on the command line each time")


def _near(name: str, known: Iterable[str]) -> str:
    near = near_word(name, known)
    return f": did you mean ${near}?" if near else f" (--help lists the options, which are {PREFIX}PROGRAM_OPTION)"


# --- from what was given to values ------------------------------------------------------------------------


def _setting(raw: _Raw) -> object:
    """Return the value of a setting as ``config.py`` would have it."""
    kind, value = SETTINGS[raw.name], raw.value
    if raw.is_text and isinstance(value, str):
        return _read_text(raw, value, kind)
    if kind is SettingKind.TEXT and raw.name in FILES and isinstance(value, str) and raw.beside is not None:
        return str(raw.beside / at_home(Path(value), f"{raw.origin} ="))
    if raw.name in FILES_BY_NAME and isinstance(value, dict) and raw.beside is not None:
        return {one: _lying(raw.beside, said) for one, said in value.items()}
    return value


def _lying(place: Path, said: object) -> object:
    """Return a file, or several, as they lie beside a place; what is none stays, and is refused as a wrong value."""
    if isinstance(said, list):
        return [_lying(place, one) for one in said]
    return str(place / said) if isinstance(said, str) else said


def _read_text(raw: _Raw, text: str, kind: SettingKind) -> object:
    """Return what the text of a variable stands for; one that cannot be read stays, and is refused as a wrong value."""
    if kind is SettingKind.WHOLE:
        digits = text.isascii() and text.isdigit() and len(text) <= _DIGITS and str(int(text)) == text
        return int(text) if digits else text
    if kind is SettingKind.FLAG:
        return _FLAGS.get(text.lower(), text)
    if kind is SettingKind.TABLE or (kind is SettingKind.LIST and text.lstrip().startswith("[")):
        return _inline(raw, text, kind)
    return [one.strip() for one in text.split(",")] if kind is SettingKind.LIST else text


def _inline(raw: _Raw, text: str, kind: SettingKind) -> object:
    """Return what the text of a variable is in TOML, as it would stand behind ``=``. Raises ConfigurationError."""
    try:
        found = tables_of(f"value = {text}")
    except ValueError as error:
        right = '["a", "b"]' if kind is SettingKind.LIST else "{name = 1}"
        raise ConfigurationError(f"{raw.origin} = {quoted(text)} is not usable: it is TOML, such as {right}") from error
    if list(found) != ["value"]:
        raise ConfigurationError(f"{raw.origin} = {quoted(text)} is not usable: it is one value, without more lines")
    return found["value"]


def _option(raw: _Raw, how: Mapping[str, Any]) -> object:
    """Return the value of an option as its parser would leave it. Raises ConfigurationError."""
    if how.get("action") in ("store_true", "store_false"):
        on = _FLAGS.get(raw.value.lower()) if raw.is_text and isinstance(raw.value, str) else raw.value
        if not isinstance(on, bool):
            raise _wrong(raw, "it is true or false")
        return on if how["action"] == "store_true" else not on
    if not getattr(how.get("action"), "repeats", False):
        return _made(raw, _one_text(raw, raw.value, how), how)
    texts = raw.value.split(_BETWEEN) if raw.is_text and isinstance(raw.value, str) else raw.value
    made: list[object] = []
    for one in texts if isinstance(texts, list) else [texts]:
        value = _made(raw, _one_text(raw, one.strip() if isinstance(one, str) else one, how), how)
        made.extend(value if isinstance(value, tuple) else [value])
    return tuple(made)


def _one_text(raw: _Raw, value: object, how: Mapping[str, Any]) -> str:
    """Return what would be typed behind the option. Raises ConfigurationError for a value of another kind."""
    read = how.get("type", str)
    if raw.is_text:
        return str(value)
    if raw.name in COMMAS and isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ",".join(value)
    textual = read in (str, Path) or getattr(how.get("action"), "repeats", False)
    if getattr(read, "whole", False):
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong(raw, "it is a whole number, without quotes")
    elif isinstance(value, bool) or not isinstance(value, str if textual else str | int | float):
        raise _wrong(raw, f"it is a text, as behind --{raw.name.replace('_', '-')}")
    return str(value)


def _made(raw: _Raw, text: str, how: Mapping[str, Any]) -> object:
    """Return what the option's own reader makes of a text; files lie beside the file where they are said."""
    try:
        made = how.get("type", str)(text)
    except (BuildToolError, argparse.ArgumentTypeError, ValueError) as error:
        raise ConfigurationError(f"{raw.origin}: {' '.join(str(error).split())}") from error
    if raw.beside is None:
        return made
    if isinstance(made, tuple):
        return tuple(_beside(raw.beside, one, raw.origin) for one in made)
    return _beside(raw.beside, made, raw.origin)


def _beside(directory: Path, made: object, origin: str) -> object:
    return directory / at_home(made, f"{origin} =") if isinstance(made, Path) else made


def _wrong(raw: _Raw, right: str) -> ConfigurationError:
    shown = "what it is" if raw.name in SECRETS else quoted(raw.value)
    return ConfigurationError(f"{raw.origin} = {shown} is not usable: {right}")
