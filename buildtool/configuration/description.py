"""Says what was understood of a configuration: line by line for people, as an object for programs."""

from __future__ import annotations

import attrs

from buildtool.configuration.mail_settings import MailSettings
from buildtool.configuration.port_settings import UNIX, Part
from buildtool.configuration.settings import Settings
from buildtool.model.access.audience import ProjectAccess
from buildtool.model.access.ceilings import NO_CEILINGS
from buildtool.model.addresses import at_port
from buildtool.model.farm.deployment import UNNAMED
from buildtool.model.options import Option, canonical, shown, written
from buildtool.model.text import duration_text
from buildtool.project.definition import Project


def describe(settings: Settings) -> list[str]:
    """Return, line by line, what was understood. No secret is in it."""
    lines = [
        f"configuration   {settings.path}",
        *(f"farm            {line}" for line in settings.deployment.lines if settings.deployment != UNNAMED),
        f"metaserver      {settings.host}, listening on {settings.bind}",
        f"control port    {_port(settings, Part.CONTROL)}",
        f"transfer port   {_port(settings, Part.TRANSFER, settings.transfer_url)}",
        f"web port        {_port(settings, Part.WEB, settings.public_url)}",
        f"state           {settings.state_dir}",
        f"builds          {settings.build_dir}",
        f"lease           {settings.lease} s",
        f"mail            {_mail_words(settings.mail)}",
        *(f"proxy           {one}" for one in settings.proxies.words()),
        *settings.front.identity.words(),
        *(f"origin login    {one}" for one in settings.origin_logins.prefixes),
        *(f"hooks           of {one}" for one in settings.hook_secrets.files),
        *_admission(settings),
        *([f"backup within   {duration_text(settings.backup_within)}"] if settings.backup_within else []),
    ]
    if settings.own_files is not None:
        lines.append("certificate     {}, with the key {}".format(*settings.own_files))
    for project in settings.projects:
        lines.append(f"project         {project.name}, recipe {project.recipe.version}" + _described(project))
        lines += [
            f"  {option.flag:<18} {option.accepts()}" + _default_words(option) for option in project.options.compile
        ]
        if project.options.system:
            lines.append(f"  platform           {', '.join(item.name for item in project.options.system)}")
        if project.access != ProjectAccess():
            told = (project.visible_to, f"asked for by {project.may_request}", f"built by {project.may_build}")
            lines.append(f"  for                {'; '.join(map(str, told))}")
        lines += [f"  {name:<18} {said}" for name, said in attrs.asdict(project.place).items() if said]
        if project.recipe.machine:
            lines.append(f"  needs              {shown(canonical(project.recipe.machine))}")
    if not settings.projects:
        lines.append("project         none: nothing can be built yet")
    return [*lines, *(f"may             {line}" for line in settings.rights.lines())]


def as_object(settings: Settings) -> dict[str, object]:
    """Return what was understood, for programs. No secret is in it."""
    mail, said = settings.mail, settings.front.identity
    return {
        "configuration": str(settings.path),
        **attrs.asdict(settings.deployment),
        "host": settings.host,
        "bind": settings.bind,
        **{f"{part.value}_bind": settings.place(part).bind for part in Part},
        "tls": [part.value for part in Part if settings.speaks_tls(part)],
        "tls_certificate": str(settings.own_files[0]) if settings.own_files else None,
        "pb_port": settings.pb_port,
        "transfer_port": settings.transfer_port,
        "web_port": settings.web_port,
        "public_url": settings.public_url,
        "transfer_url": settings.transfer_url,
        "state_dir": str(settings.state_dir),
        "build_dir": str(settings.build_dir),
        "lease": settings.lease,
        "names_kept": settings.names_kept,
        "backup_within": settings.backup_within or None,
        "confirmed": str(settings.confirmed),
        "logins": str(settings.logins),
        "proxies": settings.proxies.words(),
        "proxy_identity": {"header": said.header, "roles": {one: role.value for one, role in said.roles.items()}},
        "origin_logins": settings.origin_logins.prefixes,
        "hook_secrets": {one: list(files) for one, files in settings.hook_secrets.files.items()},
        "limits": attrs.asdict(settings.limits),
        "keep": settings.keep.told(),
        "weights": attrs.asdict(settings.weights),
        "mail": None if mail is None else {"host": mail.host, "port": mail.port, "sender": mail.sender},
        "projects": [{"name": one.name, "recipe": one.recipe.version} for one in settings.projects],
        "rights": list(settings.rights.lines()),
    }


def _admission(settings: Settings) -> list[str]:
    """Return how much each may have, and whose mail addresses are believed, if keys say who is there."""
    limited = settings.limits != NO_CEILINGS
    limits = [f"limit           {line}" for line in settings.limits.lines()] if limited else ["limits          none"]
    if not settings.needs_keys:
        return limits
    return [f"confirmed       {settings.confirmed}", f"logins          {settings.logins}", *limits]


def _port(settings: Settings, part: Part, url: str = "") -> str:
    """Return where a part listens, and how it is reached, in words."""
    if part is Part.TRANSFER and not settings.transfer_apart:
        return f"none of its own   {url}"
    place = settings.place(part)
    words = place.bind if place.bind.startswith(UNIX) else str(place.port)
    if place.bind != settings.bind and not place.bind.startswith(UNIX):
        words += f" on {place.bind}"
    return words + (", TLS" if settings.speaks_tls(part) else "") + (f"   {url}" if url else "")


def _described(project: Project) -> str:
    return f": {project.description}" if project.description else ""


def _default_words(option: Option) -> str:
    return "" if option.default is None else f" (default {written(option.default) or 'empty'})"


def _mail_words(mail: MailSettings | None) -> str:
    if mail is None:
        return "none: nobody is mailed; what would be sent is kept"
    login = f", logging in as {mail.username}" if mail.username else ""
    tls = "from the first byte" if mail.implicit_tls else mail.starttls
    back = f", back to {mail.bounces}" if mail.bounces else ""
    own = f", showing {mail.certificate}" if mail.certificate is not None else ""
    return f"{mail.sender} by {at_port(mail.host, mail.port)}, TLS {tls}{own}{login}{back}"
