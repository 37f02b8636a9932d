"""The files in an artifact: listed on the page of its build and alone, and each had by a link that harms nobody."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from attrs import define, evolve, field

from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.text import size_words
from buildtool.protocol.api.answers import FileList
from buildtool.protocol.codec import decode
from buildtool.web.pages.details.contents import FEW, MANY
from tests.adapters.storage.archive.test_checking import FILE, zipped
from tests.adapters.storage.archive.test_contents import Kept, with_fields
from tests.web.fake_pages import FakePages
from tests.web.farm import farm
from tests.web.test_access import Some
from tests.web.visitor import Seen, Visitor, check_html, tags

EVIL = "<script>alert(1)</script>.html"
FILES = {
    "bin/lua": b"\x7fELF",
    "README.txt": b"words",
    EVIL: b"<script>alert(1)</script>",
    "lib/\u00e9 1.so": b"x" * 300_000,
}
VISITOR = Principal(PrincipalRole.VISITOR)


@define
class Shown:
    """A farm whose first artifact holds ``data``, and a visitor."""

    directory: Path
    data: bytes = field(factory=lambda: zipped(*((name, content, FILE) for name, content in FILES.items())))
    unseen: str = ""
    pages: FakePages = field(factory=farm)
    visitor: Visitor = field(init=False)

    def __attrs_post_init__(self) -> None:
        kept = Kept(self.directory)
        self.pages.artifacts[0] = evolve(self.pages.artifacts[0], digest=kept.keep(self.data))
        self.visitor = Visitor(self.pages, access=Some(VISITOR, self.unseen), contents=kept.contents)

    def get(self, path: str, method: str = "GET", **headers: str) -> Seen:
        return self.visitor.visit(path, method, {name.replace("_", "-"): text for name, text in headers.items()})


def file_at(name: str) -> str:
    return f"/build/1/file?name={quote(name, safe='')}"


@pytest.mark.parametrize("path", ["/build/1", "/build/1/files"])
def test_each_file_is_listed_with_its_size_and_a_link_that_gets_it(tmp_path: Path, path: str) -> None:
    shown = Shown(tmp_path)
    page = shown.get(path)
    check_html(page.text)
    assert (page.status, "4 files" in page.text, size_words(300_000) in page.text) == (200, True, True)
    found = [str(it["href"]) for tag, it in tags(page.text) if tag == "a" and "/file?" in str(it.get("href"))]
    assert [shown.get(one).body for one in found] == list(FILES.values())


def test_a_file_is_kept_by_who_fetches_it_and_is_nothing_that_a_browser_runs(tmp_path: Path) -> None:
    shown = Shown(tmp_path)
    for name, kind, kept in (
        ("bin/lua", "application/octet-stream", 'attachment; filename="lua"'),
        ("README.txt", "text/plain; charset=utf-8", 'attachment; filename="README.txt"'),
        (EVIL, "application/octet-stream", 'attachment; filename="script_.html"; filename*=UTF-8\'\'script%3E.html'),
        ("lib/\u00e9 1.so", "application/octet-stream",
         'attachment; filename="__1.so"; filename*=UTF-8\'\'%C3%A9%201.so'),
    ):  # fmt: skip
        for method in ("GET", "HEAD"):
            seen = shown.get(file_at(name), method)
            assert (seen.status, seen.headers["content-type"]) == (200, kind)
            assert seen.headers["content-disposition"] == kept
            assert seen.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
            assert seen.headers["x-content-type-options"] == "nosniff"
            assert seen.headers["content-length"] == str(len(FILES[name]))
            assert seen.body == (FILES[name] if method == "GET" else b"")
    again = shown.get(file_at("README.txt"), If_None_Match=shown.get(file_at("README.txt")).headers["etag"])
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "/etc/passwd", "README.txt/", "bin", "readme.txt", "a%00b"])
def test_what_is_not_in_it_is_not_there(tmp_path: Path, name: str) -> None:
    seen = Shown(tmp_path).get(f"/build/1/file?name={name}")
    assert (seen.status, "content-disposition" in seen.headers) == (404, False)
    check_html(seen.text)


def test_no_file_is_told_of_or_given_to_who_may_not_have_the_artifact(tmp_path: Path) -> None:
    shown = Shown(tmp_path, unseen="x86_64")
    absent = Shown(tmp_path / "other").get("/build/999/files").text
    for path in ("/build/1/files", file_at("README.txt"), "/api/v1/builds/1/files"):
        seen = shown.get(path)
        assert (seen.status, "README" in seen.text) == (404, False)
    assert shown.get("/build/1/files").text.replace("build 1", "build 999") == absent


def test_of_an_artifact_that_is_withdrawn_or_never_was_there_are_none(tmp_path: Path) -> None:
    shown = Shown(tmp_path)
    shown.pages.artifacts[0] = evolve(shown.pages.artifacts[0], withdrawn="its file is gone")
    assert "not given out any more: its file is gone" in shown.get("/build/1/files").text
    assert "What is in it" not in shown.get("/build/1").text
    for path in ("/build/3/files", "/build/2/files", "/build/2/file?name=a", "/build/1/files?skip=9999"):
        assert shown.get(path).status == 404
    assert (shown.get("/build/2").status, shown.get("/build/1/files?nonsense=1").status) == (200, 400)


def test_what_is_no_archive_or_other_than_it_says_is_said_and_not_sent(tmp_path: Path) -> None:
    shown = Shown(tmp_path / "a", b"no zip at all")
    assert (shown.get("/build/1").status, shown.get("/build/1/files").status) == (200, 410)
    lies = with_fields(zipped(("bomb", bytes(50_000), FILE)), size=7)
    seen = Shown(tmp_path / "b", lies).get("/build/1/file?name=bomb")
    assert (seen.status, "content-disposition" in seen.headers) == (410, False)
    assert "has more bytes than it says" in seen.text


def test_many_files_are_shown_by_pages_in_their_order(tmp_path: Path) -> None:
    names = [f"f/{number:04}" for number in range(MANY + 5)]
    shown = Shown(tmp_path, zipped(*((name, b"", FILE) for name in names)))
    page, seen = shown.get("/build/1").text, list[str]()
    assert page.count("/build/1/file?") == FEW
    at = "/build/1/files"
    assert f'href="{at}"' in page
    while at:
        text = shown.get(at).text
        check_html(text)
        links = [it for tag, it in tags(text) if tag == "a"]
        seen += [str(it["href"]).rpartition("%2F")[2] for it in links if "/file?" in str(it.get("href"))]
        at = next((str(it["href"]) for it in links if it.get("rel") == "next"), "")
    assert [f"f/{one}" for one in seen] == names


def test_the_api_lists_the_same(tmp_path: Path) -> None:
    shown, found, skip = Shown(tmp_path), list[tuple[str, int]](), 0
    while True:
        told = decode(FileList, json.loads(shown.get(f"/api/v1/builds/1/files?limit=3&skip={skip}").text))
        assert told.count == len(FILES)
        found += [(one.name, one.size) for one in told.files]
        assert all(shown.get(one.url.partition(":8080")[2]).body == FILES[one.name] for one in told.files)
        if told.next is None:
            break
        skip = told.next
    assert found == [(name, len(content)) for name, content in FILES.items()]
