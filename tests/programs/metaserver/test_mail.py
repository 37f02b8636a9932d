"""What the mailer is made of by a configuration: whose words mails have, and what of a log they begin with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve

from buildtool.adapters.mail.samples import SampleMail, sample_mails
from buildtool.adapters.mail.text import MailLinks, MailStyle
from buildtool.configuration.current import CurrentConfiguration
from buildtool.configuration.settings import load_settings
from buildtool.errors import ConfigurationError, NotFound
from buildtool.metaserver.request_status import PublicUrls
from buildtool.model.incarnations import Keys
from buildtool.model.logs.index import LogIndex
from buildtool.ports.metaserver import OutgoingMail
from buildtool.programs.metaserver.mail import check_mail, mailing
from buildtool.programs.metaserver.reload import reread
from tests.adapters.mail.test_text import failed
from tests.support.inline import run
from tests.support.mail_page import HARMLESS, MailPage

MAIL = "mail = {'host': 'mail.test', 'sender': 'farm@example.org', 'templates': 'mails'}\n"
PLACE = "public_url = 'http://farm.test'\n"


def configured(directory: Path, **templates: str) -> Path:
    """Return a configuration beside a directory with these templates (``failed_txt`` is failed.txt)."""
    (directory / "mails").mkdir()
    for name, text in templates.items():
        (directory / "mails" / ".".join(name.rsplit("_", 1))).write_text(text)
    (directory / "config.py").write_text(MAIL + PLACE)
    return directory / "config.py"


def test_templates_that_every_mail_can_be_made_of_are_noted(tmp_path: Path) -> None:
    path = configured(tmp_path, base_txt='{% extends "buildtool/base.txt" %}{% block end %}Bye.{% endblock %}')
    assert check_mail(load_settings(path)) == [f"mails are written by {tmp_path}/mails/base.txt"]


@pytest.mark.parametrize(
    ("name", "template", "said"),
    [
        ("failed_txt", "{{ reason.nothing }}", "failed.txt:1"),
        ("failed_txt", "{{ who }}{% if mistaken %}\n{{ nothing }}{% endif %}", "failed.txt:2"),
        ("missing_html", "{% if back %}{{ nothing }}{% endif %}", "missing.html:1"),
        ("code_html", "{% if checks %}{{ nothing }}{% endif %}", "code.html:1"),
        ("digest_txt", "{% for one in members %}{{ one.nothing }}{% endfor %}", "digest.txt:1"),
        ("summary_txt", " ", "the text of a mail is empty: all of several requests"),
        ("falied_txt", "", "did you mean failed.txt?"),
    ],
)
def test_one_that_fails_with_any_outcome_is_told_with_its_place(
    tmp_path: Path, name: str, template: str, said: str
) -> None:
    path = configured(tmp_path, **{name: template})
    with pytest.raises(ConfigurationError) as caught:
        check_mail(load_settings(path))
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_template_that_is_wrong_is_not_taken_over_by_a_metaserver_that_runs(tmp_path: Path) -> None:
    path = configured(tmp_path)
    path.write_text(MAIL + "from buildtool.project import *\n" + PROJECT)
    settings = load_settings(path)
    assert reread(settings).mail == settings.mail
    (tmp_path / "mails" / "failed.txt").write_text("{{ nothing }}")
    with pytest.raises(ConfigurationError, match=r"failed\.txt:1: 'nothing' is undefined"):
        reread(settings)


PROJECT = """
projects = [Project(name='one', path_to_url=lambda path: 'file:///nowhere.git', options=ProjectOptions([], []),
                    recipe=Recipe(1, lambda wanted: Plan([Command(['make'])], ['x'])))]
"""


def samples() -> list[SampleMail]:
    links = MailLinks(
        lambda digest, name: f"http://farm/{digest}", lambda it: f"http://farm/{it}", lambda it: f"http://farm/{it}/log"
    )
    return list(sample_mails(links, MailStyle(strict=True)))


def test_there_is_an_example_for_every_template() -> None:
    directory = Path(__file__).parents[3] / "buildtool/adapters/mail/templates"
    kinds = {path.stem for path in directory.glob("*.txt") if not path.stem.startswith("_")} - {"base"}
    said = " ".join(one.what for one in samples())
    words = {
        "code": "a code to",
        "digest": "put together",
        "missing": "missing",
        "summary": "all of",
        "test": "mail-test",
        "watch": "a new binary",
    }
    assert kinds
    assert all(words.get(kind, kind) in said for kind in kinds)
    for one in samples():
        page = MailPage(one.letter.html)
        assert one.letter.subject
        assert page.tags <= HARMLESS
        assert all(link in one.letter.text for link in page.links), one.what


@define
class OneLog:
    """The log of build 12, attempt 2; without lines there is none."""

    lines_: Sequence[bytes]

    async def index(self, build_id: int, epoch: int) -> LogIndex:
        if (build_id, epoch) != (12, 2) or not self.lines_:
            raise NotFound(f"there is no log of {build_id}.{epoch}")
        index = LogIndex()
        index.grow(b"".join(line + b"\n" for line in self.lines_))
        return index

    async def lines(self, build_id: int, epoch: int, first: int, count: int) -> Sequence[bytes]:
        return self.lines_[first - 1 : first - 1 + count]


def written(path: Path, mail: OutgoingMail, logs: Any) -> str:
    settings = load_settings(path)
    configuration = CurrentConfiguration(settings)
    reactor: Any = None
    _, render, _ = mailing(
        evolve(settings, mail=None),
        PublicUrls(configuration),
        reactor,
        Keys(b"k" * 32),
        lambda: "",
        logs,
        lambda _mail: "token",
    )
    letter = run(render(mail, 0.0))
    assert letter.unsubscribe == f"{settings.public_url}/unsubscribe/token"
    return letter.text


def test_a_mail_about_a_failure_begins_with_the_first_error_of_the_whole_log_and_links_to_where_it_is(
    tmp_path: Path,
) -> None:
    path = configured(tmp_path)
    log = [*(b"cc -c %d.c" % number for number in range(5_000)), b"a.c:1: error: \x1b[1mno\x1b[0m", *[b"ok"] * 5_000]
    text = written(path, failed("ok\nmake: *** [all] Error 2\n"), OneLog(log))
    error = "The first error, line 5001 of its log:\n\n>  cc -c 4997.c\n>  cc -c 4998.c\n>  cc -c 4999.c\n"
    assert f"{error}>> a.c:1: error: no\n>  ok\n>  ok\n>  ok\n" in text
    assert "http://farm.test/build/12/log\n" in text
    without = written(path, failed("ok\nmake: *** [all] Error 2\n"), OneLog([]))
    assert "The first error:\n\n>  ok\n>> make: *** [all] Error 2\n" in without
    clean = written(path, failed("all is well\n"), OneLog([b"all is well"]))
    assert "The first error" not in clean
