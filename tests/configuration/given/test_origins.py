"""Each setting by each of the three ways is the same setting, and where it comes from is told."""

import json
from pathlib import Path

import attrs
import pytest

from buildtool.configuration.given.gathering import gather
from buildtool.configuration.given.names import SETTINGS, variable
from buildtool.configuration.given.origins import BUILT_IN
from buildtool.configuration.given.values import Given, SettingsText
from buildtool.configuration.settings import Settings, load_settings
from buildtool.errors import ConfigurationError

SAMPLES: dict[str, object] = {
    "host": "farm.example.org", "bind": "127.0.0.2", "pb_bind": "127.0.0.3", "transfer_bind": "unix:/run/t",
    "web_bind": "unix:/run/w", "plain_ports": "web", "tls_certificate": "/etc/c", "tls_key": "/etc/k",
    "public_url": "https://farm.example.org", "transfer_url": "https://files.example.org",
    "public_address": "farm.example.org:443", "certificate_life": "20d", "rejoin_within": "30d",
    "backup_within": "26h",
    "trusted": "everybody", "state_dir": "/srv/state", "build_dir": "/srv/builds", "title": "ours",
    "title_url": "https://example.org/", "contact": "a@example.org", "access_log": "/var/log/a", "pb_port": 1,
    "transfer_port": 2, "web_port": 3, "lease": 9, "names_kept": 8, "tls_names": ["a", "b"], "proxies": ["127.0.0.1"],
    "confirmed": ["@example.org"], "logins": ["@example.org", "b@example.net"], "limits": {"requests_an_hour": 7},
    "keep": {"grace": "1d"},
    "weights": {"projects": {"lua": 2}}, "rights": {"observer": {"force": "nothing"}},
    "origin_logins": {"https://git.example.org/": "/etc/login"}, "proxy_identity": {"header": "X-Who"},
    "hook_secrets": {"lua": "/etc/hook"},
    "mail.host": "other.example.org", "mail.sender": "b@example.org", "mail.username": "anna",
    "mail.password": "hunter2", "mail.password_file": "/etc/p", "mail.password_env": "P", "mail.starttls": "never",
    "mail.certificate_file": "/etc/c", "mail.key_file": "/etc/k", "mail.templates": "/etc/t",
    "mail.bounces": "farm+{id}@example.org", "mail.port": 26, "mail.per_address": 5, "mail.per_asker": 6,
    "mail.verify": False, "mail.implicit_tls": True,
}  # fmt: skip
"""A value of each setting that is not the default."""
BESIDE: dict[str, dict[str, object]] = {
    "tls_certificate": {"tls_key": "/etc/k"}, "tls_key": {"tls_certificate": "/etc/c"},
    "proxy_identity": {"proxies": ["127.0.0.1"]}, "mail.username": {"mail.password_env": "P"},
    "mail.password": {"mail.username": "u"}, "mail.password_file": {"mail.username": "u"},
    "mail.password_env": {"mail.username": "u"}, "mail.key_file": {"mail.certificate_file": "/etc/c"},
}  # fmt: skip
"""What has to stand beside it."""
PATH = Path("/etc/buildtool/settings.toml")


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml(one)}" for name, one in value.items()) + "}"
    return json.dumps(value)


def settings(path: Path, said: dict[str, object], given: Given) -> Settings:
    mail: dict[str, object] = {"host": "mail.example.org", "sender": "farm@example.org"}
    mail |= {name.removeprefix("mail."): value for name, value in said.items() if name.startswith("mail.")}
    flat = {name: value for name, value in said.items() if "." not in name} | {"mail": mail}
    path.write_text("\n".join(f"{name} = {value!r}" for name, value in flat.items()))
    return load_settings(path, secrets=False, given=given)


def test_there_is_a_sample_of_each_setting() -> None:
    assert SAMPLES.keys() == SETTINGS.keys()
    assert BUILT_IN.keys() <= {name.partition(".")[0] for name in SETTINGS}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_the_same_by_each_of_the_three_ways(tmp_path: Path, name: str) -> None:
    value, beside = SAMPLES[name], BESIDE.get(name, {})
    path = tmp_path / "config.py"
    text = toml(value) if isinstance(value, dict) else ",".join(value) if isinstance(value, list) else str(value)
    table, _, last = name.rpartition(".")
    file = SettingsText(PATH, f"{f'[{table}]' if table else ''}\n{last} = {toml(value)}")
    own = SettingsText(PATH, f"[webserver{f'.{table}' if table else ''}]\n{last} = {toml(value)}")
    ways = {
        f"${variable(name)}": gather("metaserver", {}, {variable(name): text}, None),
        f"{PATH}: {name}": gather("metaserver", {}, {}, file),
        f"{PATH}: [webserver] {name}": gather("webserver", {}, {}, own),
    }
    if name != "mail.password":  # which stands in no configuration
        expected = settings(path, {**beside, name: value}, Given())
        assert next(one for one in expected.origins if one.name == name).origin == str(path)
    for origin, given in ways.items():
        found = settings(path, beside, given)
        if name != "mail.password":
            assert found == expected
        (told,) = [one for one in found.origins if one.name == name]
        assert told.origin == origin
        assert "hunter2" not in told.shown


def test_what_is_the_default_is_not_told_whoever_says_it(tmp_path: Path) -> None:
    lines = [f"{name} = {value!r}" for name, value in BUILT_IN.items() if value not in ("", None, (), {})]
    (tmp_path / "config.py").write_text("\n".join(lines))
    assert load_settings(tmp_path / "config.py", given=Given()).origins == ()
    (tmp_path / "config.py").write_text("web_port = 9")
    assert [one.name for one in load_settings(tmp_path / "config.py", given=Given()).origins] == ["web_port"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("web_port = '80'", f"{PATH}: web_port = '80' is not usable: a port is a number from 1 to 65535"),
        ("limits = 7", f"{PATH}: limits = 7 is not usable: it is a dictionary"),
        ("[metaserver]\nbind = 'farm'", f"{PATH}: [metaserver]: bind = 'farm' is not usable: it is a name"),
        ("names_kept = true", f"{PATH}: names_kept = True is not usable: it is a whole number of days"),
        ("host = 5", f"{PATH}: host = 5 is not usable"),
        ("plain_ports = ['pb']", f"{PATH}: plain_ports = ['pb'] is not usable"),
    ],
)
def test_what_is_wrong_is_blamed_on_the_file_where_it_stands(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.py").write_text("web_port = 9")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(tmp_path / "config.py", given=gather("metaserver", {}, {}, SettingsText(PATH, text)))
    assert str(caught.value).startswith(said)


def test_what_is_wrong_in_the_configuration_is_blamed_on_no_settings_file(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("lease = 'x'")
    given = gather("metaserver", {}, {}, SettingsText(PATH, "title = 'x'"))
    with pytest.raises(ConfigurationError, match=r"config\.py: lease = 'x' is not usable"):
        load_settings(tmp_path / "config.py", given=given)


def test_a_password_in_the_settings_file_goes_before_the_file_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text(
        "mail = {'host': 'm', 'sender': 'f@x', 'username': 'u', 'password_file': 'none'}"
    )
    given = gather("metaserver", {}, {}, SettingsText(PATH, "[mail]\npassword = 'hunter2'"))
    found = load_settings(tmp_path / "config.py", given=given)
    assert found.mail is not None
    assert found.mail.password == "hunter2"
    assert "hunter2" not in repr(found) + str(attrs.asdict(found.deployment))
