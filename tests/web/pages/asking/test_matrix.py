"""A matrix has the newest build of each revision and column, and where there is none the way to ask for it."""

from urllib.parse import parse_qsl, urlsplit

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.options import Canonical, choice, flag
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import standard
from buildtool.model.records import Build, BuildState
from buildtool.model.search.build_query import BuildQuery
from buildtool.ports.pages import BuildsAsked, BuildsFound
from buildtool.web.app import make_urls
from buildtool.web.pages.asking import matrix as mx
from buildtool.web.pages.asking import wish as w
from buildtool.web.pages.asking.matrix import MatrixPage, matrix_page
from tests.support.inline import run
from tests.web.fake_pages import NOW, FakePages
from tests.web.farm import PPC, X86, build, farm
from tests.web.visitor import PUBLIC, TRANSFER

URLS = make_urls(PUBLIC, TRANSFER)
OPTIONS = ProjectOptions(standard(), (choice("checksum", ["crc32", "fnv1a"]), flag("utf8")))
USUAL, OTHER = (("checksum", "crc32"), ("utf8", False)), (("checksum", "crc32"), ("utf8", True))


def made(number: int, revision: str, platform: Canonical, options: Canonical, state: BuildState) -> Build:
    one = build(number, state, 1_000 - number)
    return evolve(one, spec=evolve(one.spec, project="lua", revision=revision, platform=platform, options=options))


def shown(*builds: Build, options: ProjectOptions | None = OPTIONS) -> MatrixPage:
    pages = FakePages(builds_made=list(builds), artifacts=farm().artifacts)
    found = run(pages.builds(BuildsAsked(BuildQuery(project=("lua",)), limit=500)))
    return matrix_page("lua", found, options, ["lua", "testproject"], URLS, NOW)


def test_a_row_is_a_revision_and_a_column_a_platform_with_its_options() -> None:
    page = shown(
        made(1, "aa", X86, USUAL, BuildState.FAILED), made(2, "aa", X86, USUAL, BuildState.SUCCEEDED),
        made(3, "aa", PPC, USUAL, BuildState.RUNNING), made(4, "bb", X86, USUAL, BuildState.QUEUED),
        made(5, "bb", X86, OTHER, BuildState.UNBUILDABLE),
    )  # fmt: skip
    assert [row.revision for row in page.rows] == ["bb", "aa"]
    assert [(it.platform.split(" (")[0], it.options) for it in page.columns] == [
        ("linux ppc", ""), ("linux x86_64", ""), ("linux x86_64", "utf8=yes"),
    ]  # fmt: skip
    states = [[box.badge.text if box.badge else box.words for box in row.boxes] for row in page.rows]
    assert states == [["ask", "queued", "unbuildable"], ["running", "succeeded", "ask"]]
    assert [box.url for box in page.rows[1].boxes][:2] == ["/build/3", "/build/2"]
    assert ([row.there for row in page.rows], page.lead) == (["0/3", "1/3"], "1 of 6 builds are there.")
    assert "build 2" in page.rows[1].boxes[1].label


def test_an_empty_cell_leads_to_the_form_filled_in_with_what_it_stands_for() -> None:
    page = shown(made(1, "aa", X86, OTHER, BuildState.FAILED), made(2, "bb", PPC, USUAL, BuildState.SUCCEEDED))
    (empty,) = [box for box in page.rows[1].boxes if box.badge is None]
    fields = parse_qsl(urlsplit(empty.url).query)
    wish = w.read_wish("lua", OPTIONS, fields)
    (ask,) = w.understood(wish, OPTIONS).asks
    assert (ask.revision, ask.compile, ask.system) == ("aa", {}, dict(PPC))
    gone = shown(
        made(1, "aa", X86, OTHER, BuildState.FAILED), made(2, "bb", PPC, USUAL, BuildState.FAILED), options=None
    )
    assert {box.url for row in gone.rows for box in row.boxes if box.badge is None} == {""}


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from([X86, PPC]), st.booleans(), st.sampled_from(BuildState)),
        max_size=90,
    )
)
def test_each_cell_is_the_newest_build_of_it_and_what_is_left_out_is_said(
    drawn: list[tuple[int, Canonical, bool, BuildState]],
) -> None:
    builds = [
        made(number, f"r{revision}", platform, OTHER if utf8 else USUAL, state)
        for number, (revision, platform, utf8, state) in enumerate(drawn, 1)
    ]
    page = shown(*builds)
    newest = {(it.spec.revision, it.spec.platform, it.spec.options): it.id for it in builds}
    linked = {int(box.url.rpartition("/")[2]) for row in page.rows for box in row.boxes if box.badge}
    assert linked <= set(newest.values())
    assert len(page.rows) == min(mx.ROWS, len({it.spec.revision for it in builds}))
    if len(page.rows) < mx.ROWS:
        assert linked == set(newest.values())
    assert any("left out" in note for note in page.notes) == (len({it.spec.revision for it in builds}) > mx.ROWS)


def test_many_columns_are_cut_to_the_usual_ones_and_an_unfinished_look_is_said() -> None:
    odd = [made(n, "aa", (("arch", f"a{n}"), ("os", "linux")), USUAL, BuildState.FAILED) for n in range(1, 15)]
    page = shown(*odd, made(20, "bb", (("arch", "a14"), ("os", "linux")), USUAL, BuildState.FAILED))
    assert len(page.columns) == mx.COLUMNS
    assert "linux a14" in [it.platform for it in page.columns]
    assert page.notes == ("2 rarer platforms or sets of options are left out.",)
    empty = matrix_page("lua", BuildsFound((), stopped=7), OPTIONS, [], URLS, NOW)
    assert (empty.rows, empty.notes) == ((), ("Made of the newest 0 builds.",))
