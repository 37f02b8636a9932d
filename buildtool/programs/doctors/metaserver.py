"""``bin/metaserver doctor``: what keeps the metaserver from its work, line by line, with the mend.

It only looks: it may be asked while the metaserver runs, and while it does not.
"""

from __future__ import annotations

import argparse
import resource
import socket
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlsplit

from buildtool.adapters.host.programs import find_tools
from buildtool.adapters.mail.probe import look_at_mail_server
from buildtool.adapters.network.open_files import OPEN_FILES
from buildtool.adapters.network.probes import name_facts, port_facts
from buildtool.adapters.sql.sqlite import there_is
from buildtool.adapters.storage.directory_lock import DATABASE, is_locked
from buildtool.adapters.storage.filesystem import RealDisk
from buildtool.adapters.tls.authority import KEYS, SERVER, encrypted_authorities, read_identity
from buildtool.adapters.tls.certificates import key_id, life_of
from buildtool.adapters.tls.own_certificate import read_own_certificate
from buildtool.configuration.port_settings import UNIX, Part, Place
from buildtool.configuration.settings import Settings, check_projects
from buildtool.errors import BuildToolError, ConfigurationError
from buildtool.model.addresses import at_port, is_address
from buildtool.model.checkup.connection import judge_life, judge_name
from buildtool.model.checkup.machine import ToolFacts, judge_open_files, judge_tools
from buildtool.model.checkup.packages import COMMON
from buildtool.model.checkup.verdicts import CheckResult, fine, problem, warning
from buildtool.programs.common.output import called
from buildtool.programs.doctors.visiting import MIB, disk_result, families, report
from buildtool.programs.metaserver.checking import apart

LOW, NEED = 10_240 * MIB, 256 * MIB
"""Bytes of free disk below which the operator is told, and below which nothing is accepted for long."""

MOST_READ = 256 * MIB
"""The largest database that is read whole; of one that is larger ``fsck`` does that."""

_OTHERS = 0o077


def doctor(load: Callable[[], Settings], said: argparse.Namespace) -> int:
    """Check everything that a metaserver needs, print the verdicts, and return the exit code."""
    try:
        settings = load()
    except BuildToolError as error:
        return report([problem("configuration", str(error), "mend that file")], as_json=said.json)
    results = [
        _projects(settings),
        *(judge_name(name_facts(host)) for host in _hosts(settings)),
        *_ports(settings, web=said.web),
        *_keys(settings.state_dir / KEYS, time.time()),
        *_own_certificate(settings, time.time()),
        _database(settings.state_dir / DATABASE),
        disk_result("state_dir", settings.state_dir, LOW, NEED),
        _mail(settings),
        *judge_tools(
            [ToolFacts("the metaserver", ("git",), () if find_tools(["git"]) else ("git",), COMMON)], families()
        ),
        judge_open_files(_open_files(), OPEN_FILES),
    ]
    return report(results, as_json=said.json)


def _projects(settings: Settings) -> CheckResult:
    try:
        apart(lambda limit: check_projects(settings, within=limit), settings.path)
    except BuildToolError as error:
        return problem("configuration", str(error), "mend that; check-config says more")
    return fine("configuration", f"{settings.path}, {', '.join(one.name for one in settings.projects)}")


def _hosts(settings: Settings) -> list[str]:
    """Return the names under which others reach this metaserver."""
    urls = (urlsplit(url).hostname or "" for url in (settings.public_url, settings.transfer_url))
    return list(dict.fromkeys(one for one in (*(address.host for address in settings.addresses), *urls) if one))


def _ports(settings: Settings, *, web: bool) -> list[CheckResult]:
    """Return the verdicts on the ports: a metaserver that runs answers there, else nobody else may.

    Whether pages are served is said at a start only: without ``web`` that port is no more than a warning.
    """
    runs = settings.state_dir.is_dir() and is_locked(settings.state_dir)
    parts = [Part.CONTROL]
    if not settings.needs_keys or settings.transfer_apart:  # else transfers are on the control port
        parts.append(Part.TRANSFER)
    if web:
        parts.append(Part.WEB)
    results = [_port(settings.place(part), f"{part.value}_port", runs=runs) for part in parts]
    pages = settings.place(Part.WEB)
    if not web and not runs and (why := _unusable(pages)):
        where = _where(pages, "web_port")
        mend = "a start with --web needs it: end what listens there (ss -ltnp), unless that is bin/webserver"
        results.append(warning("port", f"{where} cannot be used ({why})", mend))
    return results


def _where(place: Place, name: str) -> str:
    return f"{name} {place.bind if place.bind.startswith(UNIX) else at_port(place.bind, place.port)}"


def _port(place: Place, name: str, *, runs: bool) -> CheckResult:
    where = _where(place, name)
    if not runs:
        why = _unusable(place)
        if not why:
            return fine("port", f"{where} is free; the metaserver does not run")
        return problem(
            "port", f"{where} cannot be used ({why})", f"end what listens there (ss -ltnp), or say another {name}"
        )
    why = _silent(place)
    if not why:
        return fine("port", f"{where} takes connections")
    mend = "it may hang or have another configuration: look at its log, restart it"
    return problem("port", f"the metaserver runs, but {where} takes no connection ({why})", mend)


def _silent(place: Place) -> str:
    """Return why nothing answers at a place, "" where something does."""
    if not place.bind.startswith(UNIX):
        own = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(place.bind, place.bind)  # noqa: S104 - compared only
        return port_facts(own, place.port).error
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(place.bind.removeprefix(UNIX))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _unusable(place: Place) -> str:
    """Return why nothing can listen at a place, "" where something can; a socket that was left behind is replaced."""
    try:
        if place.bind.startswith(UNIX):
            directory = Path(place.bind.removeprefix(UNIX)).parent
            return "" if directory.is_dir() else f"there is no directory {directory}"
        with socket.socket(socket.AF_INET6 if ":" in place.bind else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((place.bind, place.port))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _keys(directory: Path, now: float) -> list[CheckResult]:
    """Return the verdicts on the farm's authority and on the metaserver's certificate."""
    if not directory.is_dir():
        return [fine("keys", f"{directory} is made at the first start that needs keys")]
    results, disk = [], RealDisk()
    try:
        if closed := encrypted_authorities(directory, disk):
            mend = f"{called('metaserver')} restore --passphrase-file FILE makes it usable"
            return [problem("keys", f"{closed[0]} is encrypted, as in a backup", mend)]
        paths = sorted(directory.glob("*.pem"))
        for path in paths:
            identity, _ = read_identity(path, disk)
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & _OTHERS:
                results.append(problem("keys", f"{path} can be read by others (mode {mode:04o})", f"chmod 600 {path}"))
            began, ends = life_of(identity.certificate)
            mend = (
                "restart the metaserver: it renews that"
                if path.name == SERVER
                else f"{called('metaserver')} rotate-ca moves the farm to a new one"
            )
            results.append(judge_life(path.name, began, ends, now, mend))
            if path.name.startswith("authority-"):
                results.append(fine("fingerprint", f"{path.name} is sha256:{key_id(identity.key)}"))
    except BuildToolError as error:
        results.append(problem("keys", str(error), "put it back from a backup; what joined believes that key"))
    except OSError as error:
        mend = "give the state directory to the metaserver's account"
        results.append(problem("keys", f"{directory} cannot be read: {error.strerror}", mend))
    return results


def _own_certificate(settings: Settings, now: float) -> list[CheckResult]:
    """Return the verdict on the certificate that the operator named for browsers, if one is named."""
    if settings.own_files is None:
        return []
    try:
        own = read_own_certificate(*settings.own_files)
    except ConfigurationError as error:
        return [
            problem("certificate", str(error), "put the files of one certificate there, own one first, then its chain")
        ]
    path = str(settings.own_files[0])
    return [judge_life(path, *life_of(own.certificate), now, "have it renewed by whom it comes from")]


def _database(path: Path) -> CheckResult:
    """Return the verdict on the database, which is only read."""
    if not there_is(path):
        return fine("database", f"{path} is made at the first start")
    mend = f"stop the metaserver, then {called('metaserver')} fsck; put a backup back where it is damaged"
    try:
        small = path.stat().st_size <= MOST_READ
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=5.0)) as connection:
            (said,) = connection.execute(
                "PRAGMA quick_check(1)" if small else "SELECT 'ok' FROM alembic_version"
            ).fetchone()
    except (OSError, sqlite3.Error) as error:
        return problem("database", f"{path} cannot be read ({error})", mend)
    return fine("database", f"{path} is sound") if said == "ok" else problem("database", f"{path}: {said}", mend)


def _mail(settings: Settings) -> CheckResult:
    if settings.mail is None:
        return warning("mail", "none is sent: what would be is kept", "set mail in config.py")
    where = at_port(settings.mail.host, settings.mail.port)
    if not is_address(settings.mail.host) and not name_facts(settings.mail.host).addresses:
        return problem("mail", f"{settings.mail.host} has no address here", "check mail's host in config.py")
    found = look_at_mail_server(settings.mail)
    if found.trouble:
        why = f"{where} takes none from {settings.mail.sender} ({found.trouble})"
        return problem("mail", why, "check mail in config.py")
    letters = "any letters" if found.any_letters else "letters from a to z"
    return fine("mail", f"{where} takes mail from {settings.mail.sender}, for addresses with {letters}")


def _open_files() -> int:
    """Return how many files may be open at once, once the program has raised that as far as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return -1 if hard == resource.RLIM_INFINITY else hard
