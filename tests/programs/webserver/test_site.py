"""Each answer of the pages is a line of the access log, where there is one: by who asked, as a proxy says."""

from pathlib import Path

from twisted.web.resource import Resource
from twisted.web.server import Request

from buildtool.adapters.runtime.access_log import AccessLog
from buildtool.model.access.proxies import Proxies
from buildtool.programs.webserver.site import PagesSite
from tests.programs.webserver.test_ceilings import visit


class Hello(Resource):
    """A page."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        return b"hello"


def test_a_line_has_who_asked_as_a_proxy_says_and_what_was_answered(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    site = PagesSite(Hello(), proxies=Proxies.of(["192.0.2.1"]), kept=AccessLog(file))
    visit(site, "192.0.2.1", "X-Forwarded-For: 203.0.113.7", "User-Agent: curl/8")
    visit(site, "198.51.100.1", "X-Forwarded-For: 203.0.113.7", 'Referer: "\\')
    site.stopFactory()
    first, second = file.read_text().splitlines()
    assert first.startswith("203.0.113.7 - - [")
    assert first.endswith('] "GET / HTTP/1.1" 200 5 "-" "curl/8"')
    assert second.startswith("198.51.100.1 - - [")
    assert second.endswith(r'"GET / HTTP/1.1" 200 5 "\x22\\" "-"')


def test_another_configuration_writes_into_another_file_or_none(tmp_path: Path) -> None:
    site = PagesSite(Hello(), kept=AccessLog(tmp_path / "one"))
    visit(site, "198.51.100.1")
    site.take(PagesSite(Hello(), kept=AccessLog(tmp_path / "two")))
    visit(site, "198.51.100.1")
    site.take(PagesSite(Hello()))
    visit(site, "198.51.100.1")
    assert [len((tmp_path / name).read_text().splitlines()) for name in ("one", "two")] == [1, 1]
