"""Where each value that is not the default comes from: the file of the configuration, or what went before it.

Covered by tests/configuration/given/test_origins.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from buildtool.configuration.given.names import MAIL
from buildtool.configuration.given.values import Given, GivenValue

BUILT_IN: Mapping[str, object] = {
    "host": "127.0.0.1", "pb_port": 23432, "transfer_port": 23433, "web_port": 8080, "state_dir": "var/metaserver",
    "build_dir": "var/buildserver", "lease": 60, "names_kept": 7, "trusted": "nobody", "mail": None, "limits": {},
    "keep": {}, "weights": {}, "rights": {}, "proxies": (), "tls_names": (), "confirmed": (), "logins": ("*",),
    "plain_ports": (), "origin_logins": {}, "hook_secrets": {}, "proxy_identity": {},
    "certificate_life": "30d", "rejoin_within": "400d",
    "backup_within": "",
    "title": "buildtool", "title_url": "", "contact": "", "public_address": (), "access_log": None,
}  # fmt: skip
"""What the settings are that nothing says, as ``config.py`` would have them."""


def origins_of(path: Path, configured: Mapping[str, object], given: Given) -> tuple[GivenValue, ...]:
    """Return what goes before the configuration at ``path``, and then what is not the default there.

    Of mail each setting counts by itself; the projects are no setting that anything else could give.
    """
    found = dict(given.settings)
    mail = configured.get(MAIL)
    flat = {name: value for name, value in configured.items() if name not in ("projects", MAIL)}
    flat |= {f"{MAIL}.{name}": value for name, value in mail.items()} if isinstance(mail, dict) else {}
    for name, value in flat.items():
        if name not in found and not _is_built_in(name, value):
            found[name] = GivenValue(name, value, str(path), raw=value)
    return tuple(found.values())


def _is_built_in(name: str, value: object) -> bool:
    if name not in BUILT_IN:
        return False
    default = BUILT_IN[name]
    same = list(default) == list(value) if isinstance(default, tuple) and isinstance(value, list | tuple) else False
    return same or (type(value) is type(default) and value == default)
