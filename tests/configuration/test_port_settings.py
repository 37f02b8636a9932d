"""What each port listens on and speaks: settings, variables, and one line for what cannot be."""

from pathlib import Path

import pytest

from buildtool.configuration.description import as_object, describe
from buildtool.configuration.port_settings import Part
from buildtool.configuration.settings import Settings, load_settings
from buildtool.errors import ConfigurationError


def read(directory: Path, text: str) -> Settings:
    file = directory / "config.py"
    file.write_text(text)
    return load_settings(file)


def test_each_part_listens_on_bind_unless_its_own_setting_or_variable_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "bind = '10.0.0.1'\npb_bind = '::'\nweb_bind = 'unix:/run//buildtool/web'\n"
    found = read(tmp_path, text)
    assert [found.place(part).bind for part in Part] == ["::", "10.0.0.1", "unix:/run/buildtool/web"]
    monkeypatch.setenv("BUILDTOOL_TRANSFER_BIND", "unix:/t")
    monkeypatch.setenv("BUILDTOOL_WEB_BIND", "127.0.0.1")
    found = read(tmp_path, text)
    assert [found.place(part).bind for part in Part] == ["::", "unix:/t", "127.0.0.1"]
    assert "10.0.0.1" in found.hosts
    assert not {"::", "unix:/t"} & set(found.hosts)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pb_bind = 'farm'", "^.*pb_bind = 'farm' is not usable: it is a name"),
        ("web_bind = 'unix:web'", "web_bind = 'unix:web' is not usable: behind unix: is a path that begins with /"),
        ("web_bind = 'unix:/'", "behind unix: is a path"),
        ("web_bind = 'unix:/a\\nb'", "behind unix: is a path"),
        ("web_bind = 'unix:/' + 'x' * 101", "has at most 100 bytes"),
        ("transfer_bind = 7", "transfer_bind = 7 is not usable: it is not text"),
        ("plain_ports = ['pb']", r"plain_ports = \['pb'\] is not usable: it lists what speaks no TLS: web, transfer"),
        ("plain_ports = [['web']]", "is not usable"),
        ("plain_ports = 8080", "is not usable"),
        ("tls_key = 'x.pem'", "tls_key is there without tls_certificate"),
        ("tls_certificate = 'x.pem'", "tls_certificate is there without tls_key"),
        ("tls_certificate = 7\ntls_key = 'x'", "tls_certificate = 7 is not usable: it is a path"),
        ("web_port = 23432", "pb_port and web_port are both 23432: each needs its own port"),
        ("web_port = 23432\nweb_bind = '0.0.0.0'", "each needs its own port"),
        ("web_bind = 'unix:/a'\ntransfer_bind = 'unix:/a'", "transfer_bind and web_bind are both unix:/a"),
        (
            "trusted = 'loopback'\ntransfer_bind = '0.0.0.0'",
            'say trusted = "nobody", an own tls_certificate, or plain_ports',
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as told:
        read(tmp_path, text)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PB_BIND", "farm"), ("TRANSFER_BIND", "unix:x"), ("PLAIN_PORTS", "pb"), ("WEB_BIND", "unix:/" + "x" * 200)],
)
def test_a_bad_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(f"BUILDTOOL_{variable}", value)
    with pytest.raises(ConfigurationError, match=rf"config.py: \$BUILDTOOL_{variable} = .*is not usable"):
        read(tmp_path, "")


def test_two_parts_may_have_one_port_on_two_addresses(tmp_path: Path) -> None:
    read(tmp_path, "pb_port = web_port = 443\npb_bind = '10.0.0.1'\nweb_bind = '127.0.0.1'\n")


@pytest.mark.parametrize(
    ("text", "speaking"),
    [
        ("", {Part.CONTROL}),
        ("bind = '10.0.0.1'", set(Part)),
        ("bind = '10.0.0.1'\nplain_ports = ['web']", {Part.CONTROL, Part.TRANSFER}),
        ("bind = '10.0.0.1'\nplain_ports = 'transfer,web'.split(',')", {Part.CONTROL}),
        ("bind = '10.0.0.1'\nweb_bind = 'unix:/w'\ntransfer_bind = '127.0.0.2'", {Part.CONTROL}),
        ("trusted = 'loopback'", set()),
        ("trusted = 'loopback'\nweb_bind = '10.0.0.1'", {Part.WEB}),
        ("trusted = 'loopback'\npb_bind = 'unix:/p'", {Part.CONTROL}),
        ("trusted = 'everybody'\nbind = '10.0.0.1'", set()),
        (
            "trusted = 'everybody'\nbind = '10.0.0.1'\ntls_certificate = 'c'\ntls_key = 'k'",
            {Part.TRANSFER, Part.WEB},
        ),
    ],
)
def test_a_part_speaks_tls_where_others_reach_it_unless_a_setting_says_plain(
    tmp_path: Path, text: str, speaking: set[Part]
) -> None:
    found = read(tmp_path, text)
    assert {part for part in Part if found.speaks_tls(part)} == speaking


def test_transfers_have_a_port_of_their_own_where_no_keys_are_needed_or_it_is_said(tmp_path: Path) -> None:
    assert not read(tmp_path, "").transfer_apart
    assert read(tmp_path, "transfer_port = 23433").transfer_apart
    assert read(tmp_path, "transfer_bind = 'unix:/t'").transfer_apart


def test_what_was_understood_is_told(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "bind = '10.0.0.1'\nweb_bind = 'unix:/w'\npb_bind = '127.0.0.1'\n"
        "tls_certificate = 'c.pem'\ntls_key = 'k.pem'\n",
    )
    lines = describe(found)
    assert "control port    23432 on 127.0.0.1, TLS" in lines
    assert "transfer port   none of its own   https://127.0.0.1:23432" in lines
    assert "web port        unix:/w   https://127.0.0.1:23432" in lines
    assert f"certificate     {tmp_path}/c.pem, with the key {tmp_path}/k.pem" in lines
    told = as_object(found)
    assert (told["web_bind"], told["tls"]) == ("unix:/w", ["pb", "transfer"])
