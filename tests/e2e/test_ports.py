"""Real programs on their ports: everything on one of them, behind nginx, on sockets, by certificates of one's own."""

import http.client
import json
import os
import re
import signal
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from buildtool.adapters.tls.authority import hosts_of
from buildtool.adapters.tls.certificates import (
    Identified,
    certificate_text,
    key_text,
    new_authority,
    new_key,
    server_certificate,
)
from buildtool.demo.local_farm import Program, free_ports
from tests.e2e.control import Control
from tests.e2e.test_identities import joined, program
from tests.e2e.test_operator import operate
from tests.support.packages import require

PATIENCE = 30.0


def start(farm: Control, *arguments: str, **environment: str) -> Control:
    """Start a metaserver that believes nobody without a key, and has no port for transfers alone."""
    farm.farm.extra |= {
        "BUILDTOOL_TRUSTED": "nobody",
        "BUILDTOOL_TRANSFER_PORT": "",
        "XDG_CONFIG_HOME": str(farm.directory / "home"),
        **environment,
    }
    farm.farm.start_metaserver(*arguments)
    return farm


def port_of(farm: Control, name: str = "PB") -> int:
    return farm.farm.ports[f"BUILDTOOL_{name}_PORT"]


def anything() -> ssl.SSLContext:
    """What a browser does whose user says that the certificate is all right."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def shown(port: int, *protocols: str) -> x509.Certificate:
    """The certificate that a client is shown that names these protocols."""
    context = anything()
    if protocols:
        context.set_alpn_protocols(list(protocols))
    with socket.create_connection(("127.0.0.1", port), 10) as plain, context.wrap_socket(plain) as secured:
        return x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")


def fetch(url: str) -> tuple[int, str]:
    with urllib.request.urlopen(url, timeout=10, context=anything()) as answer:  # noqa: S310 - https, as the tests say
        return answer.status, answer.read().decode()


def build(farm: Control) -> dict[str, object]:
    """Have a build made by a machine and for a person that joined."""
    joined(farm, "anna")
    line = operate(farm, "invite", "ben", "--role", "requester", "--owner", "ben@example.org")
    assert program(farm, "startcompile.py", "join", line).returncode == 0
    return farm.ask("ben@example.org", "--foreground")


def test_one_port_serves_messages_transfers_and_pages_and_one_connection_may_ask_for_both(control: Control) -> None:
    farm = start(control)
    done = build(farm)
    assert done["build_state"] == "succeeded", done
    port = port_of(farm)
    with closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=anything())) as visitor:
        visitor.request("GET", f"/builds/{done['build_id']}")
        page = visitor.getresponse().read().decode()
        (artifact,) = set(re.findall(rf'href="https://127\.0\.0\.1:{port}(/artifacts/[^"]+)"', page))
        log = f"/logs/{done['build_id']}"
        for path, words in ((artifact, b"PK"), (log, b"building on"), (f"{log}/1", b"building on"), ("/", b"<html")):
            visitor.request("GET", path)
            answer = visitor.getresponse()
            assert answer.status == 200, path
            assert words in answer.read(), path
        used = visitor.sock
        visitor.request("GET", "/artifacts/nothing")
        answer = visitor.getresponse()
        assert (answer.status, answer.read()) == (404, b"there is nothing at this address\n")
        assert visitor.sock is used, "all of it came over one connection"


def test_no_other_protocol_is_spoken_there_and_no_certificate_is_needed_to_look(control: Control) -> None:
    port = port_of(start(control))
    for protocols in (["h2"], ["buildtool/4"], ["spdy/3"]):
        context = anything()
        context.set_alpn_protocols(protocols)
        with socket.create_connection(("127.0.0.1", port), 10) as plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain)
    context = anything()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection(("127.0.0.1", port), 10) as plain, context.wrap_socket(plain) as secured:
        assert secured.selected_alpn_protocol() == "http/1.1"
    assert fetch(f"https://127.0.0.1:{port}/builds")[0] == 200


@contextmanager
def nginx(directory: Path, configuration: str) -> Iterator[None]:
    """Run nginx by this configuration until the end."""
    require("nginx", "nginx libnginx-mod-stream")
    directory.mkdir()
    module = next(Path("/usr/lib/nginx/modules").glob("ngx_stream_module.so"), None)
    load = f"load_module {module};\n" if module is not None else ""
    (directory / "nginx.conf").write_text(
        f"{load}daemon off;\npid {directory}/pid;\nerror_log {directory}/error.log;\nevents {{}}\n{configuration}"
    )
    running = Program.start("nginx", ["nginx", "-c", str(directory / "nginx.conf")], dict(os.environ))
    try:
        yield
    finally:
        running.stop()


def test_behind_nginx_that_tells_sites_apart_by_name_all_works_by_one_port(control: Control) -> None:
    require("nginx", "nginx libnginx-mod-stream")
    front, elsewhere = free_ports(2)
    start(
        control, BUILDTOOL_PUBLIC_URL=f"https://localhost:{front}", BUILDTOOL_TRANSFER_URL=f"https://localhost:{front}"
    )
    stream = f"""
    stream {{
        map $ssl_preread_server_name $farm {{
            default 127.0.0.1:{elsewhere};
            localhost 127.0.0.1:{port_of(control)};
        }}
        server {{ listen 127.0.0.1:{front}; ssl_preread on; proxy_pass $farm; }}
    }}
    """
    with nginx(control.directory / "nginx", stream):
        line = operate(control, "invite", "anna").replace(f"127.0.0.1:{port_of(control)}/", f"localhost:{front}/")
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", front)) == 0:
                    break
        anna = control.server("anna", "--join", line)
        assert any(f"registered at localhost:{front}" in one for one in anna.lines)
        line = operate(control, "invite", "ben", "--role", "requester", "--owner", "ben@example.org")
        line = line.replace(f"127.0.0.1:{port_of(control)}/", f"localhost:{front}/")
        assert program(control, "startcompile.py", "join", line).returncode == 0
        done = control.ask("--host", "localhost", "--port", str(front), "ben@example.org", "--foreground")
        assert done["build_state"] == "succeeded", done
        assert "anna" in fetch(f"https://localhost:{front}/buildservers")[1]


def test_pages_speak_tls_where_others_reach_them_unless_a_setting_says_plain(control: Control) -> None:
    start(control, "--web", BUILDTOOL_WEB_BIND="0.0.0.0")
    port = port_of(control, "WEB")
    assert fetch(f"https://127.0.0.1:{port}/")[0] == 200
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: farm\r\n\r\n")
        assert b"400 Bad Request" in plain.recv(1000)
    control.farm.programs[-1].stop()
    control.farm.extra["BUILDTOOL_PLAIN_PORTS"] = "web"
    control.farm.start_metaserver("--web")
    assert fetch(f"http://127.0.0.1:{port}/")[0] == 200


def test_the_pages_as_a_program_of_their_own_show_the_farms_certificate(control: Control) -> None:
    start(control, BUILDTOOL_WEB_BIND="0.0.0.0")
    own = control.farm.start("pages", [str(control.farm.root / "bin" / "webserver")])
    own.wait_for("pages on https://")
    port = port_of(control, "WEB")
    assert fetch(f"https://127.0.0.1:{port}/")[0] == 200
    assert shown(port) == shown(port_of(control))


def test_pages_that_others_reach_speak_tls_also_where_nobody_here_needs_a_key(control: Control) -> None:
    control.farm.extra |= {"BUILDTOOL_WEB_BIND": "0.0.0.0"}
    own = control.farm.start("pages", [str(control.farm.root / "bin" / "webserver")])
    assert own.ended() != 0, "there is no certificate yet, and no database"
    control.farm.start_metaserver("--web")
    port = port_of(control, "WEB")
    assert fetch(f"https://127.0.0.1:{port}/")[0] == 200
    assert "buildtool farm" in issuer(shown(port))
    control.server("anna")
    assert control.ask("ben@example.org", "--foreground")["build_state"] == "succeeded"


def test_a_certificate_that_cannot_be_shown_stops_the_start_and_is_found_by_check_config(control: Control) -> None:
    control.farm.extra |= own_certificate(control.directory, ["farm.example.org"])
    control.farm.extra["BUILDTOOL_TRUSTED"] = "nobody"
    (control.directory / "privkey.pem").write_bytes(key_text(new_key()))
    for words in (("serve",), ("check-config",)):
        told = operate(control, *words, code=2)
        assert re.search(r"tls_key = \S+privkey.pem: that is not the key of \S+fullchain.pem", told), told
        assert "\n" not in told


def test_pages_and_transfers_listen_on_sockets_while_build_servers_reach_the_control_port(control: Control) -> None:
    place = control.directory / "s"
    place.mkdir()
    start(
        control, "--web", BUILDTOOL_WEB_BIND=f"unix:{place}/web", BUILDTOOL_TRANSFER_BIND=f"unix:{place}/transfers"
    )  # fmt: skip
    for name, path, words in (("web", "/builds", b"200 OK"), ("transfers", "/artifacts/x", b"404 Not Found")):
        with socket.socket(socket.AF_UNIX) as proxy:
            proxy.connect(str(place / name))
            proxy.sendall(f"GET {path} HTTP/1.1\r\nHost: farm\r\n\r\n".encode())
            assert words in proxy.recv(1000)
    assert build(control)["build_state"] == "succeeded"
    control.farm.programs[0].kill()  # as in a crash: the sockets stay
    assert (place / "web").exists()
    control.farm.start_metaserver("--web")


def own_certificate(directory: Path, names: list[str], life: float = 90 * 86_400.0) -> dict[str, str]:
    """Make a certificate as a public authority would, and say which settings name it."""
    authority, key, now = new_authority("Public Trust Inc.", time.time()), new_key(), time.time()
    made = Identified(key, server_certificate(authority, key.public_key(), names, now, life))
    (directory / "fullchain.pem").write_bytes(certificate_text([made.certificate, authority.certificate]))
    (directory / "privkey.pem").write_bytes(key_text(key))
    return {
        "BUILDTOOL_TLS_CERTIFICATE": str(directory / "fullchain.pem"),
        "BUILDTOOL_TLS_KEY": str(directory / "privkey.pem"),
    }


def issuer(certificate: x509.Certificate) -> str:
    return certificate.issuer.rfc4514_string()


def test_browsers_are_shown_the_own_certificate_and_who_joins_or_joined_goes_by_the_farms(control: Control) -> None:
    start(control)
    anna = joined(control, "anna")
    metaserver = control.farm.programs[0]
    assert metaserver.stop() == 0
    control.farm.extra |= own_certificate(control.directory, ["farm.example.org"])
    control.farm.start_metaserver()
    anna.wait_for("registered at.*session 2")
    port = port_of(control)
    assert issuer(shown(port)) == issuer(shown(port, "http/1.1")) == "CN=Public Trust Inc."
    assert "buildtool farm" in issuer(shown(port, "buildtool/3"))
    line = operate(control, "invite", "ben", "--role", "requester", "--owner", "ben@example.org")
    assert program(control, "startcompile.py", "join", line).returncode == 0
    assert control.ask("ben@example.org", "--foreground")["build_state"] == "succeeded"


def test_a_new_own_certificate_is_taken_over_and_a_broken_one_is_told_and_leaves_the_old(control: Control) -> None:
    start(control, **own_certificate(control.directory, ["one.example.org"]))
    anna = joined(control, "anna")
    port, metaserver = port_of(control), control.farm.programs[0]
    own_certificate(control.directory, ["two.example.org"])
    metaserver.wait_for("fullchain.pem was read again")
    assert hosts_of(shown(port)) == ("two.example.org",)
    (control.directory / "privkey.pem").write_bytes(key_text(new_key()))
    metaserver.send(signal.SIGHUP)
    metaserver.wait_for("is not the key of .*; the certificate that was there before is shown")
    assert hosts_of(shown(port)) == ("two.example.org",)
    (problem,) = [one for one in json.loads(operate(control, "status", "--json"))["problems"] if "tls_key" in one]
    assert "that is not the key of" in problem
    own_certificate(control.directory, ["three.example.org"], life=86_400.0)
    metaserver.send(signal.SIGHUP)
    metaserver.wait_for("fullchain.pem was read again")
    assert "expires in 1 days" in operate(control, "status", "--json")
    assert json.loads(operate(control, "status", "--json"))["servers_connected"] == 1
    assert sum("registered at" in line for line in anna.lines) == 1, "no connection has ended"


def test_other_names_of_the_farm_stand_in_its_certificate_at_once_and_no_connection_ends(control: Control) -> None:
    file = control.directory / "config.py"
    file.write_text(f"from buildtool.project import load\nprojects = [load({str(control.farm.config)!r})]\n")
    original = Path(control.farm.config).read_text()
    file.write_text(original)
    control.farm.config = file
    start(control)
    anna = joined(control, "anna")
    file.write_text(original + "\ntls_names = ['also.example.org']\n")
    metaserver = control.farm.programs[0]
    metaserver.send(signal.SIGHUP)
    metaserver.wait_for("has a new certificate")
    assert "also.example.org" in hosts_of(shown(port_of(control), "buildtool/3"))
    assert sum("registered at" in line for line in anna.lines) == 1
