"""What the page of a queued build says of why it waits."""

from attrs import define, field, frozen
from twisted.trial.unittest import SynchronousTestCase

from buildtool.model.records import BuildState
from buildtool.ports.pages import ShownVisitor
from buildtool.protocol.messages import Explanation
from buildtool.protocol.pages.farm_view import WhyLine
from tests.messages import explanation
from tests.web.fake_pages import NoQuestions
from tests.web.farm import farm
from tests.web.visitor import Visitor, check_html


@frozen
class Answers(NoQuestions):
    """``ports.Questions`` with one answer to everything."""

    said: Explanation | None
    asked: list[int] = field(factory=list)

    async def why(self, build_id: int, visitor: ShownVisitor) -> Explanation | None:
        self.asked.append(build_id)
        return self.said


@define
class Page:
    """The page of the farm's queued build, as it is with an answer."""

    said: Explanation | None
    html: str = field(init=False)
    answers: Answers = field(init=False)

    def __attrs_post_init__(self) -> None:
        pages = farm()
        self.answers = Answers(self.said)
        (queued, *_) = [build.id for build in pages.builds_made if build.state is BuildState.QUEUED]
        visitor = Visitor(pages, questions=self.answers)
        self.html = visitor.visit(f"/build/{queued}").text
        assert self.answers.asked == [queued]


class WaitingTests(SynchronousTestCase):
    def test_the_reasons_are_grouped_with_their_servers_and_link_to_them(self) -> None:
        said = explanation(
            "queued",
            reasons=(WhyLine("is busy (1 of 1 builds) (until in about 40 s)", ("anna", "bert"), 25),),
            ahead=3,
            seconds=90.0,
            basis="7 earlier builds of lua",
        )
        page = Page(said)
        check_html(page.html)
        for words in ("Why it waits", "until in about 40 s", "and 23 more", "3 builds wait", "7 earlier builds of lua"):
            assert words in page.html
        assert "/buildservers/anna" in page.html

    def test_the_nearest_machine_is_named_when_none_could_ever_build_it(self) -> None:
        page = Page(explanation("queued", nearest_server="needs libc_version ≤ 2.31; the best is 2.36 on anna"))
        assert "the best is 2.36 on anna" in page.html

    def test_hostile_words_are_escaped(self) -> None:
        page = Page(explanation("queued", reasons=(WhyLine("<script>alert(1)</script>", ("<b>",), 1),)))
        check_html(page.html)
        assert "<script>" not in page.html

    def test_without_an_answer_the_page_is_there_all_the_same(self) -> None:
        page = Page(None)
        assert "Why it waits" not in page.html
