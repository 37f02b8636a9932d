"""The names of all that can be given, of what kind each is, and the variable of the environment that each has.

Covered by tests/configuration/given/test_gathering.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

PREFIX = "BUILDTOOL_"

FILE_VARIABLE = "BUILDTOOL_SETTINGS"
"""The variable that names the settings file; the option is ``--settings-file``."""

PROGRAMS = ("metaserver", "webserver", "buildserver", "startcompile", "update")
"""The tables of the settings file: one a program, of the program's name."""

OTHERWISE = {"web": "webserver", "pages": "webserver", "requester": "startcompile"}
"""What a table may be taken to be called."""


class SettingKind(Enum):
    """A kind of value that a setting of ``config.py`` has."""

    TEXT = "a text"
    WHOLE = "a whole number"
    FLAG = "true or false"
    LIST = "a list"
    TABLE = "a table"


_TEXT, _WHOLE, _FLAG, _LIST, _TABLE = SettingKind

SETTINGS: Mapping[str, SettingKind] = {
    **dict.fromkeys(("host", "bind", "pb_bind", "transfer_bind", "web_bind", "plain_ports", "tls_certificate",
                     "tls_key", "public_url", "transfer_url", "public_address", "certificate_life", "rejoin_within",
                     "backup_within",
                     "trusted", "state_dir", "build_dir", "title", "title_url", "contact", "access_log"), _TEXT),
    **dict.fromkeys(("pb_port", "transfer_port", "web_port", "lease", "names_kept"), _WHOLE),
    **dict.fromkeys(("tls_names", "proxies", "confirmed", "logins"), _LIST),
    **dict.fromkeys(("limits", "keep", "weights", "rights", "origin_logins", "hook_secrets",
                     "proxy_identity"), _TABLE),
    **dict.fromkeys(("mail.host", "mail.sender", "mail.username", "mail.password", "mail.password_file",
                     "mail.password_env", "mail.starttls", "mail.certificate_file", "mail.key_file", "mail.templates",
                     "mail.bounces"), _TEXT),
    **dict.fromkeys(("mail.port", "mail.per_address", "mail.per_asker"), _WHOLE),
    **dict.fromkeys(("mail.verify", "mail.implicit_tls"), _FLAG),
}  # fmt: skip
"""The settings of ``config.py`` that can be given: all but the projects, which are code."""

MAIL = "mail"
"""The setting that is a table itself, and of which each name is given by itself."""

FILES = frozenset(
    {"state_dir", "build_dir", "tls_certificate", "tls_key", "access_log", "mail.password_file",
     "mail.certificate_file", "mail.key_file", "mail.templates"}
)  # fmt: skip
"""The settings that name a file, which lies beside the file where that is said."""

FILES_BY_NAME = frozenset({"origin_logins", "hook_secrets"})
"""The settings that name files each by something."""

SHARED = ("config", "verbose", "json", "http", "join", "token")
"""What can be given to all programs at once, beside settings of ``config.py``."""

SECRETS = frozenset({"mail.password", "token", "join"})
"""What is never shown, and stands in no file that everybody on the machine may read."""

ONE_OF = ("mail.password", "mail.password_file", "mail.password_env")
"""The ways to give one password, of which the one that goes first makes the others count for nothing."""

EACH_TIME = frozenset(
    {"yes", "dry_run", "replace", "repair", "restored", "accept_new_database", "code", "settings_file", "help_all"}
)
"""The options that confirm what happens once, or say where the settings are: nothing says these for good."""

COMMAS = frozenset({"platforms", "secret_files", "readable", "allow_network", "signed_by"})
"""The options whose one value is several with commas between them, or a list in a file."""


def variable(name: str, program: str = "") -> str:
    """Return the variable of a setting or an option, for all programs or for one."""
    words = "_".join([*([program] if program else []), *name.split(".")])
    return PREFIX + words.upper().replace("-", "_")


def option_name(flag: str) -> str:
    """Return the name under which an option is given, such as ``max_builds``."""
    return flag[2:].replace("-", "_")


ENVIRONMENT: Mapping[str, str] = {variable(name): name for name in SETTINGS}
"""The variable of each setting of ``config.py``."""
