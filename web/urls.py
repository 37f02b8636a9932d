"""The one place where URLs are built.

Links inside pages are paths, so that they work under whatever name a visitor came by; a path in ``public_url``
(pages behind a proxy at ``https://example.org/farm``) is kept in front of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, urlencode, urlsplit

from attrs import field, frozen

from buildtool.concurrency.bounded_cache import remembering, weight


def _prefix(public_url: str) -> str:
    return urlsplit(public_url).path.rstrip("/")


@frozen(eq=False)
class Urls:
    """The URL of everything.

    ``public`` is the address of the pages, ``transfer`` that of the transfer port, neither needing a ``/`` at its end;
    ``assets`` maps the name of a static file to the name under which it is served, which carries its digest.
    """

    public: str
    transfer: str
    assets: Mapping[str, str] = field(factory=dict)
    prefix: str = field(init=False)
    artifacts: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "prefix", _prefix(self.public))
        object.__setattr__(self, "artifacts", f"{self.transfer.rstrip('/')}/artifacts/")

    def status(self, span: str = "") -> str:
        """Return the front page, with the chart of a span if that is named."""
        return f"{self.prefix}/" + (f"?{urlencode({'span': span})}" if span else "")

    def ask(self, fields: Iterable[tuple[str, str]] = ()) -> str:
        """Return the form that asks for builds, filled in with these fields."""
        words = urlencode(list(fields), errors="replace")
        return f"{self.prefix}/request" + (f"?{words}" if words else "")

    def matrix(self, project: str = "", query: str = "", before: int | None = None) -> str:
        """Return the matrix of a project, or of the first one, of what a search finds, from below a build on."""
        asked = {name: str(value) for name, value in (("q", query), ("before", before)) if value}
        words = f"?{urlencode(asked)}" if asked else ""
        return f"{self.prefix}/matrix" + (f"/{_quoted(project)}{words}" if project else "")

    def queue(self) -> str:
        """Return who waits for what."""
        return f"{self.prefix}/queue"

    def servers(self, page: int = 1) -> str:
        """Return a page of the list of build servers."""
        return f"{self.prefix}/buildservers" + (f"?page={page}" if page > 1 else "")

    def server(self, name: str) -> str:
        """Return the page of a build server."""
        return f"{self.prefix}/buildservers/{_quoted(name)}"

    def builds(
        self, query: str = "", *, before: int | None = None, after: int | None = None, form: str = "", state: str = ""
    ) -> str:
        """Return the list of what a search finds, below ``before`` or above ``after``, in a form for programs."""
        line = f"{query} state:{state}".strip() if state else query
        asked = {"q": line, "before": before, "after": after}
        words = urlencode({name: str(value) for name, value in asked.items() if value not in {"", None}})
        return f"{self.prefix}/builds" + (f".{form}" if form else "") + (f"?{words}" if words else "")

    def badge(self, project: str) -> str:
        """Return the badge of a project."""
        return f"{self.prefix}/badge/{_quoted(project)}.svg"

    def build(self, build_id: int) -> str:
        """Return the page of a Build."""
        return f"{self.prefix}/build/{build_id}"

    def log(self, build_id: int, epoch: int | None = None) -> str:
        """Return the log of the deciding Attempt, or of the one with this epoch."""
        return f"{self.prefix}/logs/{build_id}" + ("" if epoch is None else f"?attempt={epoch}")

    def log_page(self, build_id: int, epoch: int | None = None, line: int = 0) -> str:
        """Return the page on which a log is read, from a line on where one is said."""
        asked = [f"attempt={epoch}"] if epoch is not None else []
        asked += [f"from={line}"] if line else []
        return f"{self.build(build_id)}/log" + (f"?{'&'.join(asked)}" if asked else "")

    def log_index(self, build_id: int, epoch: int) -> str:
        """Return the index of a log; the number of the byte from which on it is wanted has to follow."""
        return f"{self.prefix}/logs/{build_id}/index?attempt={epoch}&from="

    def log_search(self, build_id: int, epoch: int) -> str:
        """Return where a log is searched; the text, quoted, has to follow."""
        return f"{self.prefix}/logs/{build_id}/search?attempt={epoch}&q="

    def artifact(self, digest: str, name: str) -> str:
        """Return where an artifact's zip is, on the transfer port."""
        return f"{self.artifacts}{_quoted(digest)}/{_quoted(name)}"

    def path(self, path: str) -> str:
        """Return a path of these pages, as it is on this site."""
        return f"{self.prefix}{path}"

    def health(self) -> str:
        """Return where monitoring asks."""
        return f"{self.prefix}/health"

    def events(self) -> str:
        """Return the stream of what changes."""
        return f"{self.prefix}/events"

    def static(self, name: str) -> str:
        """Return a static file by its name in ``static/``. Raises KeyError when there is no such file."""
        return f"{self.prefix}/static/{self.assets[name]}"

    def absolute(self, path: str) -> str:
        """Return one of the paths above as a whole URL, for what leaves the pages."""
        return self.public.rstrip("/") + path.removeprefix(self.prefix)


def files_of(urls: Urls, build_id: int, skip: int = 0) -> str:
    """Return the list of the files in the artifact of a Build, after the first ``skip``."""
    return f"{urls.build(build_id)}/files" + (f"?skip={skip}" if skip else "")


def file_of(urls: Urls, build_id: int, name: str) -> str:
    """Return a file in the artifact of a Build. Its name is no part of the path, which proxies write anew."""
    return f"{urls.build(build_id)}/file?{urlencode({'name': name})}"


def _quoted(text: str) -> str:
    """Return a text as one segment of a path; nearly all are digests and names that are so already."""
    return text if _USUAL.match(text) else _quoted_anew(text)


_USUAL = re.compile(r"[A-Za-z0-9._-]+\Z")


@remembering(512 * 1024, lambda quoted, text: weight(quoted) + weight(text))
def _quoted_anew(text: str) -> str:
    return quote(text, safe="", errors="replace")


def server_anchor(name: str) -> str:
    """Return the fragment id of a build server: valid in HTML whatever the name holds, and never the same for two."""
    safe = "".join(char if char.isascii() and (char.isalnum() or char == "-") else f"_{ord(char):x}_" for char in name)
    return f"server-{safe}"
