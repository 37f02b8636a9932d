"""nginx, HAProxy and Apache by the files of deploy/proxies, each really in front of a farm."""

import datetime as dt
import http.client
import os
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from buildtool.demo.local_farm import Program, free_ports
from tests.e2e.conftest import farm
from tests.e2e.control import CONFIG, Control
from tests.e2e.test_ports import own_certificate
from tests.e2e.test_proxy import listens
from tests.support.packages import require

PROXIES = Path(__file__).resolve().parents[2] / "deploy" / "proxies"

PATIENCE = 30.0

NONE: Mapping[str, str] = {}

SETTINGS = f"""
from runpy import run_path

globals().update({{name: value for name, value in run_path({str(CONFIG)!r}).items() if not name.startswith("_")}})
proxies = ["127.0.0.1"]
proxy_identity = {{"header": "X-Forwarded-Email"}}
"""

AROUND_NGINX = """
daemon off;
user root;
pid {place}/nginx.pid;
error_log {place}/nginx.log;
events {{}}
http {{
    access_log off;
    {site}
}}
"""

AROUND_APACHE = """
ServerRoot {place}
PidFile {place}/apache.pid
ErrorLog {place}/apache.log
Mutex pthread
Listen {port}
User daemon
Group daemon
{modules}
{site}
"""

MODULES = ("mpm_event", "authz_core", "proxy", "proxy_http", "headers", "ssl", "socache_shmcb")


@frozen
class Front:
    """A farm, the port at which proxies stand in front of it by turns, and the files that they show and believe."""

    control: Control
    port: int
    place: Path
    below: str = "/farm/"
    """The path below which the pages are."""

    def configuration(self, name: str) -> str:
        """Return a file of deploy/proxies with the ports and files of this farm."""
        ports = self.control.farm.ports
        text = (PROXIES / name).read_text()
        changes = [
            (r"/etc/ssl/farm", str(self.place)),
            (r"127\.0\.0\.1:8080", f"127.0.0.1:{ports['BUILDTOOL_WEB_PORT']}"),
            (r"127\.0\.0\.1:23433", f"127.0.0.1:{ports['BUILDTOOL_TRANSFER_PORT']}"),
            (r"(listen |bind :|\*:)443", rf"\g<1>{self.port}"),
        ]
        for old, new in changes:
            text, count = re.subn(old, new, text)
            assert count, f"{name} does not say {old}"
        return text.replace("/farm/", self.below)

    def get(self, path: str, headers: Mapping[str, str] = NONE, who: str = "") -> tuple[int, bytes]:
        """Ask for a path, by the certificate of a person if there is one; of what is live take what comes first."""
        context = ssl.create_default_context(cafile=self.place / "fullchain.pem")
        if who:
            context.load_cert_chain(self.place / f"{who}.pem")
        asking = http.client.HTTPSConnection("localhost", self.port, timeout=PATIENCE, context=context)
        try:
            asking.request("GET", path, headers=dict(headers))
            answer = asking.getresponse()
            live = answer.headers.get("Content-Type", "").startswith("text/event-stream")
            return answer.status, answer.read1(500) if live else answer.read()
        finally:
            asking.close()


def people(place: Path, *addresses: str) -> None:
    """Write an authority and, by it, a certificate with its key for each address."""

    def write(name: str, subject: x509.Name, issuer: x509.Name, by: ec.EllipticCurvePrivateKey | None) -> object:
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        made = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
            .sign(by or key, hashes.SHA256())
        )
        form = serialization.PrivateFormat.PKCS8
        own = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        text = made.public_bytes(serialization.Encoding.PEM)
        (place / name).write_bytes(text if by is None else text + own)
        return key

    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "people")])
    key = write("people-ca.pem", authority, authority, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    for address in addresses:
        name = x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, address)])
        write(f"{address.partition('@')[0]}.pem", name, authority, key)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A farm with an artifact, for all proxies by turns: a start takes two seconds."""
    with fronted(tmp_path_factory.mktemp("front"), "/farm/") as made:
        yield made


@pytest.fixture(scope="module")
def front_at_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """Another one, whose pages are at the root of the site."""
    with fronted(tmp_path_factory.mktemp("root"), "/") as made:
        yield made


@contextmanager
def fronted(directory: Path, below: str) -> Iterator[Front]:
    """Start a farm that proxies may stand in front of."""
    with farm(directory) as control:
        (port,) = free_ports(1)
        place = control.directory / "tls"
        place.mkdir()
        made = own_certificate(place, ["localhost"])
        (place / "farm.pem").write_text((place / "fullchain.pem").read_text() + (place / "privkey.pem").read_text())
        people(place, "anna@example.org")
        config = control.directory / "config.py"
        config.write_text(SETTINGS)
        control.farm.config = config
        control.farm.extra |= {
            "BUILDTOOL_PUBLIC_URL": f"https://localhost:{port}{below.rstrip('/')}",
            "BUILDTOOL_TRANSFER_URL": f"https://localhost:{port}/transfers",
            "SSL_CERT_FILE": made["BUILDTOOL_TLS_CERTIFICATE"],
        }
        control.farm.start_metaserver("--web")
        yield Front(control, port, place, below)


def begun(front: Front, name: str) -> list[str]:
    """Write the configuration of a proxy, and return the command that starts it."""
    place = front.place / name.partition(".")[0]
    place.mkdir()
    site, file = front.configuration(name), place / name
    if name == "haproxy.cfg":
        file.write_text(site)
        return [require("haproxy", "haproxy"), "-db", "-f", str(file)]
    if name == "nginx.conf":
        file.write_text(AROUND_NGINX.format(place=place, site=site))
        return [require("nginx", "nginx"), "-c", str(file)]
    apache = require("apache2", "apache2-bin")
    modules = "\n".join(f"LoadModule {one}_module /usr/lib/apache2/modules/mod_{one}.so" for one in MODULES)
    file.write_text(AROUND_APACHE.format(place=place, port=front.port, modules=modules, site=site))
    return [apache, "-DFOREGROUND", "-f", str(file)]


@contextmanager
def proxy(front: Front, name: str) -> Iterator[None]:
    running = Program.start(name, begun(front, name), dict(os.environ))
    try:
        until = time.monotonic() + PATIENCE
        while not listens(front.port):
            assert running.process.poll() is None, running.lines
            assert time.monotonic() < until, f"{name} does not listen"
            time.sleep(0.05)
        yield
    finally:
        running.stop()


@pytest.mark.parametrize("name", ["nginx.conf", "haproxy.cfg", "apache.conf"])
def test_behind_a_proxy_pages_downloads_and_what_is_live_work_and_certificates_say_who_one_is(
    front: Front, name: str
) -> None:
    all_works(front, name)


@pytest.mark.long
@pytest.mark.parametrize("name", ["nginx.conf", "haproxy.cfg", "apache.conf"])
def test_at_the_root_of_a_site_it_is_so_too(front_at_root: Front, name: str) -> None:
    all_works(front_at_root, name)


def all_works(front: Front, name: str) -> None:
    """Check all that goes through a proxy."""
    at = front.below
    with proxy(front, name):
        if not any(one.name == "elm" for one in front.control.farm.programs):
            front.control.server("elm")
        done = front.control.ask("ben@example.org", "--foreground")
        assert done["build_state"] == "succeeded", "what was built went through the proxy"

        status, page = front.get(f"{at}build/{done['build_id']}")
        assert status == 200
        found = re.search(rf"https://localhost:{front.port}(/transfers/[^\"]+)", page.decode())
        assert found is not None, page
        whole = front.get(found[1])
        assert (whole[0], len(whole[1]) > 100) == (200, True)
        assert front.get(found[1], {"Range": "bytes=10-19"}) == (206, whole[1][10:20])
        assert front.get(f"{at}api/v1/builds", {"Accept": "application/json"})[0] == 200
        status, first = front.get(f"{at}events")
        assert (status, bool(first)) == (200, True), "what is live is not held back"
        for link in set(re.findall(r'(?:href|src)="(/[^"]+)"', page.decode())):
            assert urlsplit(link).path.startswith(at), link

        assert b"anna@example.org" in front.get(f"{at}sign-in", who="anna")[1]
        for spoofed in ("X-Forwarded-Email", "x-forwarded-email", "X_Forwarded_Email"):
            assert b"anna@example.org" not in front.get(f"{at}sign-in", {spoofed: "anna@example.org"})[1]
