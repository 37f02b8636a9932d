"""Pages below a path behind a real nginx that ends TLS and has people log in: all links hold, and nobody is fooled."""

import base64
import http.client
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urldefrag, urlencode, urljoin, urlsplit

import pytest
from attrs import frozen
from playwright.sync_api import expect

from buildtool.demo.local_farm import free_ports
from tests.e2e.control import CONFIG, Control
from tests.e2e.test_ports import anything, nginx, own_certificate
from tests.support.browser import Window, chromium
from tests.support.packages import require

SETTINGS = f"""
from runpy import run_path

globals().update({{name: value for name, value in run_path({str(CONFIG)!r}).items() if not name.startswith("_")}})
proxies = ["unix"]
proxy_identity = {{"header": "X-Forwarded-Email", "roles": {{"anna@example.org": "operator"}}}}
access_log = "access.log"
"""

PATIENCE = 30.0

ANNA, BEN = "anna:secret", "ben:hunter2"

PEOPLE = "anna:{PLAIN}secret\nben:{PLAIN}hunter2\n"

SITE = """
user root;
http {{
    access_log off;
    map $remote_user $email {{ default "$remote_user@example.org"; "" ""; }}
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {place}/fullchain.pem;
        ssl_certificate_key {place}/privkey.pem;
        auth_basic "farm";
        auth_basic_user_file {place}/people;
        proxy_http_version 1.1;
        location /farm/ {{
            proxy_set_header Host $host;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto https;
            proxy_set_header X-Forwarded-Email $email;
            proxy_set_header Authorization "";
            proxy_pass http://unix:{pages}:/;
        }}
        location /transfers/ {{
            auth_basic off;
            client_max_body_size 0;
            proxy_request_buffering off;
            proxy_pass http://127.0.0.1:{transfer}/;
        }}
    }}
}}
"""


NONE: Mapping[str, str] = {}


@frozen
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: str


@frozen
class Front:
    """The farm as it is seen through the proxy, by who logs in there."""

    port: int

    @property
    def site(self) -> str:
        return f"https://localhost:{self.port}/farm"

    def get(
        self, url: str, who: str = BEN, headers: Mapping[str, str] = NONE, form: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask for a URL below the site, by a form if there is one."""
        parts = urlsplit(url if "://" in url else f"{self.site}{url}")
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        shown = {"Authorization": f"Basic {base64.b64encode(who.encode()).decode()}"} if who else {}
        asking = http.client.HTTPSConnection("localhost", self.port, timeout=30, context=anything())
        try:
            if form is None:
                asking.request("GET", path, headers={**shown, **headers})
            else:
                sent = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"https://localhost:{self.port}"}
                asking.request("POST", path, urlencode(form), headers={**shown, **sent, **headers})
            answer = asking.getresponse()
            if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
                return Answer(answer.status, dict(answer.headers), answer.read1(500).decode())
            return Answer(answer.status, dict(answer.headers), answer.read().decode("utf-8", "replace"))
        finally:
            asking.close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def behind(control: Control, *, apart: bool) -> Iterator[Front]:
    """Start a metaserver behind nginx, with its pages in it or ``apart`` in a process of their own."""
    require("nginx", "nginx libnginx-mod-stream")
    (port,) = free_ports(1)
    place, pages = control.directory / "front", control.directory / "web"
    place.mkdir()
    (place / "people").write_text(PEOPLE)
    (place / "people").chmod(0o644)
    made = own_certificate(place, ["localhost"])
    config = control.directory / "config.py"
    config.write_text(SETTINGS)
    front = Front(port)
    control.farm.config = config
    control.farm.extra |= {
        "BUILDTOOL_WEB_BIND": f"unix:{pages}",
        "BUILDTOOL_PUBLIC_URL": front.site,
        "BUILDTOOL_TRANSFER_URL": f"https://localhost:{port}/transfers",
        "SSL_CERT_FILE": made["BUILDTOOL_TLS_CERTIFICATE"],
    }
    control.farm.start_metaserver(*([] if apart else ["--web"]))
    if apart:
        control.farm.start("pages", [str(control.farm.root / "bin" / "webserver")]).wait_for("pages on unix:")
    transfer = control.farm.ports["BUILDTOOL_TRANSFER_PORT"]
    with nginx(control.directory / "nginx", SITE.format(port=port, place=place, pages=pages, transfer=transfer)):
        until = time.monotonic() + PATIENCE
        while not listens(port):
            assert time.monotonic() < until, "nginx does not listen"
            time.sleep(0.05)
        yield front


def links(page: Answer, at: str) -> set[str]:
    """The addresses that a page of ours has."""
    if not page.headers["Content-Type"].startswith(("text/html", "application/atom")):
        return set()
    found = re.findall(r'(?:href|src)="([^"]+)"', page.body)
    return {urldefrag(urljoin(at, one.replace("&amp;", "&")))[0] for one in found}


def test_below_a_path_every_link_stays_there_and_leads_somewhere(control: Control) -> None:
    with behind(control, apart=True) as front:
        control.server("elm")
        done = control.ask("ben@example.org", "--foreground")
        assert done["build_state"] == "succeeded"
        start = f"{front.site}/"
        left = [start, f"{front.site}/audit", f"{front.site}/sign-in", f"{front.site}/queue"]
        seen = {urlsplit(one).path for one in left}
        own = (f"{front.site}/", f"https://localhost:{front.port}/transfers/")
        while left:
            at = left.pop()
            answer = front.get(at, ANNA)
            if answer.status == 303:  # as where there is one project to choose from
                left.append(urljoin(at, answer.headers["Location"]))
                continue
            assert answer.status == 200, at
            if "/transfers/" not in at:
                assert answer.headers["Strict-Transport-Security"].startswith("max-age="), at
            for link in links(answer, at):
                if link.startswith("mailto:") or "greeter.git" in link:
                    continue
                assert link.startswith(own), f"{at} leads to {link}"
                if urlsplit(link).path not in seen:
                    seen.add(urlsplit(link).path)
                    left.append(link)
        paths = " ".join(seen)
        for part in ("/farm/build/", "/farm/static/", "/farm/logs/", "/farm/builds.atom", "/transfers/"):
            assert part in paths, part

        moved = front.get("/builds/")
        assert (moved.status, moved.headers["Location"]) == (308, "/farm/builds")
        stream = front.get("/events")
        assert stream.status == 200
        assert stream.body, "what is live is not held back"
        assert front.get("/api/v1/builds", headers={"Accept": "application/json"}).status == 200
        assert front.get("/", who="").status == 401, "nginx lets in only who logs in"
        kept = (control.directory / "access.log").read_text().splitlines()
        assert any(
            re.match(r'127\.0\.0\.1 - anna@example\.org \[.*\] "GET /queue HTTP/1\.1" 200 \d+ ', one) for one in kept
        )


@pytest.mark.long
@pytest.mark.xdist_group("browser")
def test_below_a_path_a_browser_finds_every_page_its_scripts_and_its_buttons(control: Control) -> None:
    with behind(control, apart=True) as front, chromium() as browser:
        control.server("elm")
        done = control.ask("ben@example.org", "--foreground")
        window = Window(browser, f"{front.site}/", logged_in=("anna", "secret"))
        page, asked, wrong = window.page, list[str](), list[str]()
        window.context.on("request", lambda request: asked.append(request.url))
        window.context.on(
            "response", lambda told: wrong.append(f"{told.status} {told.url}") if told.status >= 400 else None
        )
        left = [f"{front.site}{path}" for path in ("/", "/audit", "/sign-in", "/queue", "/request")]
        seen = {urlsplit(one).path for one in left}
        while left:
            at = left.pop()
            told = window.context.request.get(at)
            assert told.status == 200, at
            if not told.headers["content-type"].startswith("text/html"):
                continue  # it is saved, or no page
            page.goto(at)
            found = page.evaluate(
                "[...document.links].map(a => a.href).concat([...document.forms].map(f => f.action), "
                "[...document.querySelectorAll('link')].map(l => l.href))"
            )
            for link in (urldefrag(one)[0] for one in found):
                if link.startswith("mailto:") or "greeter.git" in link or "/transfers/" in link or "/acts/" in link:
                    continue
                assert link.startswith(f"{front.site}/"), f"{at} leads to {link}"
                if urlsplit(link).path not in seen and "/static/" not in link:
                    seen.add(urlsplit(link).path)
                    left.append(link)
        assert len(seen) > 15, seen

        page.goto(f"{front.site}/buildservers")
        page.get_by_label("Reason").fill("its disk is full")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("main")).to_contain_text("its disk is full")
        page.get_by_role("button", name="Resume").click()
        expect(page.locator("main")).not_to_contain_text("its disk is full")
        assert page.url.startswith(f"{front.site}/buildservers")
        page.goto(f"{front.site}/build/{done['build_id']}/log")
        expect(page.locator("main")).to_contain_text("building on elm")
        page.locator("main input[type=search]").fill("BUILDING")
        page.locator("main input[type=search]").press("Enter")
        expect(page.locator("main mark").first).to_be_visible()
        for part in ("/logs/1/index", "/logs/1/search", "/events"):
            assert any(one.startswith(front.site + part) for one in asked), part
        page.goto(f"{front.site}/request")
        with page.expect_navigation():
            page.locator("main form button[type=submit], main form button:not([type])").last.click()
        assert page.url.startswith(f"{front.site}/")
        assert wrong == []
        window.close()


def form_of(page: Answer, act: str) -> dict[str, str]:
    """What the form of an act sends by itself."""
    (form,) = re.findall(rf'<form method="post" action="/farm/acts/{act}".*?</form>', page.body, re.DOTALL)[:1]
    return dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form))


@pytest.mark.parametrize("apart", [pytest.param(False, marks=pytest.mark.long), True])
def test_who_logs_in_at_the_proxy_acts_as_who_they_are_and_nobody_else_is_believed(
    control: Control, *, apart: bool
) -> None:
    with behind(control, apart=apart) as front:
        control.server("elm")
        assert "anna@example.org" in front.get("/sign-in", ANNA).body
        assert front.get("/audit", ANNA).status == 200, "she is an operator"
        assert "ben@example.org" in front.get("/sign-in", BEN).body
        assert front.get("/audit", BEN).status == 403, "he is a requester"
        for name in ("X-Forwarded-Email", "x-forwarded-email"):
            assert front.get("/audit", BEN, {name: "anna@example.org"}).status == 403, "the proxy says who he is"

        page = front.get("/buildservers", ANNA)
        cookie = page.headers["Set-Cookie"].partition(";")[0]
        assert cookie.startswith("__Secure-")
        assert "Path=/farm; " in page.headers["Set-Cookie"]
        fields = {**form_of(page, "pause"), "reason": "its disk is full"}
        assert front.get("/acts/pause", ANNA, {"Cookie": cookie}, fields).status == 303
        assert "its disk is full" in front.get("/buildservers", BEN).body
        assert "by anna@example.org" in front.get("/audit", ANNA).body
        other = {"Cookie": cookie, "Origin": "https://evil.example"}
        assert front.get("/acts/pause", ANNA, other, fields).status == 403

        spoofed = control.farm.start(
            "others", [str(control.farm.root / "bin" / "webserver"), "--port", "0"], BUILDTOOL_WEB_BIND="127.0.0.1"
        )
        port = spoofed.wait_for(r"pages on http://127\.0\.0\.1:(\d+)/")[1]
        asking = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
        asking.request("GET", "/audit", headers={"X-Forwarded-Email": "anna@example.org"})
        assert asking.getresponse().status == 403, "only proxies that the configuration names are believed"
        asking.close()
