"""What mails say: everything a person needs of each outcome, and nothing that a stranger wrote breaks their form."""

import hashlib
import re
import shlex
import subprocess
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from buildtool.adapters.mail.codes import render_code
from buildtool.adapters.mail.letter import Letter
from buildtool.adapters.mail.message import compose, compose_letter
from buildtool.adapters.mail.plain_text import LOG_BYTES, LOG_LINES, WIDTH, log_end, plain
from buildtool.adapters.mail.text import MailLinks, MailStyle, render, render_test
from buildtool.adapters.mail.told import Defaults
from buildtool.errors import InternalError
from buildtool.model.farm.deployment import Deployment, ProjectPlace
from buildtool.model.logs.error_lines import Excerpt
from buildtool.model.platforms import Value
from buildtool.model.records import AttemptEnd, AttemptState, BuildState, Mail, RequestState
from buildtool.model.servers import Capability, Server
from buildtool.model.trust.evidence import Evidence, SandboxLevel, SourceTrust
from buildtool.ports.metaserver import OutgoingMail
from buildtool.ports.pages import RunningBuild
from tests.support.mail_page import HARMLESS, MailPage
from tests.support.outbox import DIGEST, NAME, REVISION, WALL, artifact, attempt, build, outgoing, request
from tests.support.smtp import mail_html, mail_text, parse

LINKS = MailLinks(
    lambda digest, name: f"http://farm.test:23433/artifacts/{digest}/{name}",
    lambda number: f"http://farm.test/build/{number}",
    lambda number: f"http://farm.test/logs/{number}",
)
ENDS = tuple(state for state in RequestState if state is not RequestState.WAITING)
ANYTHING = st.text(max_size=60)
HOSTILE = st.text(st.one_of(st.characters(), st.sampled_from("\n\r\x1b\x00.\u2028\u202e\x85 ")), max_size=300)


def told(mail: OutgoingMail) -> tuple[str, str]:
    return words(letter(mail))


def letter(mail: OutgoingMail) -> Letter:
    return render(mail, LINKS, WALL + 100)


def words(letter: Letter) -> tuple[str, str]:
    return letter.subject, letter.text


def knowing(defaults: Defaults) -> MailStyle:
    return MailStyle(defaults=defaults)


def failed(log_tail: str = "cc -c lua.c\nlua.c:12: error\n") -> OutgoingMail:
    mail = outgoing("12:failed:alice@example.org", outcome=RequestState.FAILED)
    ended = evolve(attempt(2, "vega", AttemptEnd.FAILED), log_tail=log_tail)
    made = evolve(build(BuildState.FAILED), deciding_epoch=2, failed_on=("orion", "vega"), reason="make exited with 2")
    return evolve(mail, build=made, artifact=None, attempts=(attempt(1, "orion", AttemptEnd.FAILED), ended))


def unbuildable() -> OutgoingMail:
    mail = outgoing("12:unbuildable:alice@example.org", outcome=RequestState.UNBUILDABLE)
    ends = (
        attempt(1, "orion", AttemptEnd.LOST, "connection lost"),
        attempt(2, "vega", AttemptEnd.BROKEN, "no space left on device"),
        attempt(3, "rigel", AttemptEnd.LIMITED, "the machine's limit of 600 s"),
    )
    made = evolve(build(BuildState.UNBUILDABLE), deciding_epoch=None, reason="three build servers broke")
    return evolve(mail, build=made, artifact=None, attempts=ends)


def expired() -> OutgoingMail:
    mail = outgoing("12:expired:17:alice@example.org", outcome=RequestState.EXPIRED)
    made = evolve(build(BuildState.EXPIRED), deciding_epoch=None, reason="no build server with arch=ppc came")
    return evolve(mail, build=made, artifact=None, attempts=())


def cancelled() -> OutgoingMail:
    return evolve(expired(), mail=outgoing(outcome=RequestState.CANCELLED).mail)


def test_a_finished_build_is_told_with_all_that_is_needed_to_fetch_and_verify_it() -> None:
    subject, body = told(outgoing())
    assert subject == "[lua] linux ppc: built: v5.4 (3f2a1b9c)"
    assert body.startswith("Your binary is ready: lua v5.4 (3f2a1b9c4d5e) for linux ppc.\n")
    for fact in (
        REVISION, DIGEST, "lto=yes opt=O2 with=readline,ssl", "libc_version=2.36", "cross toolchain",
        "build server orion", "1 min 12 s", "1.2 MiB (1234567 bytes)", f"http://farm.test:23433/artifacts/{DIGEST}/{NAME}",
        "http://farm.test/build/12", "request 17", "bin/startcompile.py cancel",
    ):  # fmt: skip
        assert fact in body


def test_other_bytes_than_before_are_told_with_both_digests_and_nothing_of_it_where_they_are_the_same() -> None:
    reason = "not the same bytes as build 9 made of the same on <b>vega: SHA-256 2c26b46b68ff... before, 9b74... now"
    again = letter(evolve(outgoing(), build=evolve(build(), reason=reason)))
    for part in (" ".join(again.text.split()), MailPage(again.html).text):
        assert "It was built before, and is not the same now" in part
        told_there = part.index("Not the same bytes as build 9 made of the same on <b>vega: SHA-256 2c26b46b68ff...")
        assert part.index("Fetch it") < told_there < part.index("Project")
    same = letter(outgoing())
    assert "the same" not in same.text + same.html


def test_in_which_sandbox_it_was_built_is_told_where_there_was_one() -> None:
    assert "sandbox" not in told(outgoing())[1]
    made = evolve(artifact(), evidence=Evidence(SandboxLevel.STRICT))
    text = told(evolve(outgoing(), artifact=made))[1]
    assert "on the build server orion, in a strict sandbox" in " ".join(text.split())


def test_that_it_was_built_of_an_untrusted_ref_is_told() -> None:
    assert "untrusted" not in told(outgoing())[1]
    made = evolve(artifact(), evidence=Evidence(SandboxLevel.NONE, SourceTrust.UNTRUSTED))
    text = told(evolve(outgoing(), artifact=made))[1]
    assert "on the build server orion, from an untrusted ref" in " ".join(text.split())


def test_the_subject_tells_builds_of_one_branch_apart() -> None:
    """By the commit, and by what was chosen besides the defaults, while that is little."""
    defaults: dict[str, dict[str, Value | None]] = {"lua": {"lto": False, "opt": "O2", "with": ("readline", "ssl")}}
    of = "[lua] linux ppc: built: v5.4 (3f2a1b9c)"
    assert render(outgoing(), LINKS, WALL, knowing(defaults)).subject == f"{of}, lto=yes"
    assert render(outgoing(), LINKS, WALL, knowing({"lua": dict(artifact().options)})).subject == of
    many = evolve(artifact(), options=tuple((f"option{number}", number) for number in range(4)))
    assert render(evolve(outgoing(), artifact=many), LINKS, WALL, knowing(defaults)).subject == of
    by_id = request(ref=REVISION[:10])
    assert told(evolve(outgoing(), requests=(by_id,)))[0] == f"[lua] linux ppc: built: {REVISION[:12]}"


def test_the_line_that_verifies_an_artifact_says_ok_for_the_right_bytes_and_fails_for_others(tmp_path: Path) -> None:
    """The name is one that a shell would take for commands, and the digest that of "hello"."""
    name = "it's; touch pwned $(touch pwned) `touch pwned`.zip"
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    mail = evolve(outgoing(), artifact=evolve(artifact(), name=name, digest=digest))
    (line,) = (line for line in told(mail)[1].splitlines() if "sha256sum -c" in line)
    (tmp_path / name).write_text("hello")
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("OK")
    (tmp_path / name).write_text("hallo")
    assert subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, check=False).returncode != 0
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert shlex.split(line)[0] == "echo"


def test_a_mistake_of_the_project_is_not_said_to_be_remembered() -> None:
    mail = failed()
    assert mail.build is not None
    mistake = evolve(attempt(2, "vega", AttemptEnd.MISTAKEN), reason="the recipe raised NameError")
    _, body = told(
        evolve(mail, build=evolve(mail.build, failed_on=("vega",)), attempts=(mistake,)),
    )
    said = " ".join(body.split())
    assert "It is not remembered, so ask again once it is mended." in said
    assert "Until it is forgotten" not in said
    assert "--force" not in said


def test_a_failure_is_told_with_its_reason_where_it_failed_and_the_end_of_the_log() -> None:
    subject, body = told(failed())
    assert subject == "[lua] linux ppc: failed: v5.4 (3f2a1b9c)"
    assert body.startswith("The build failed: lua v5.4")
    assert "in the words of the build server vega:\n\n  > Make exited with 2." in body
    assert "orion and vega" in body
    assert "> lua.c:12: error\n" in body
    assert "http://farm.test/logs/12" in body
    assert "sha256sum" not in body


def test_a_failure_without_a_log_says_that_there_is_none() -> None:
    assert "There is no log." in told(failed(""))[1]


def test_an_unbuildable_build_is_told_with_what_became_of_each_attempt() -> None:
    body = told(unbuildable())[1]
    assert "  1. orion (cross-compiled) - lost\n     > Connection lost.\n" in body
    assert "  2. vega (cross-compiled) - broken machine\n     > No space left on device.\n" in body
    assert "  3. rigel (cross-compiled) - over the machine's limit\n     > The machine's limit of 600 s.\n" in body


def test_of_very_many_attempts_the_last_are_told_and_how_many_are_left_out() -> None:
    mail = evolve(unbuildable(), attempts=tuple(attempt(n, f"s{n}", AttemptEnd.LOST) for n in range(1, 101)))
    body = told(mail)[1]
    assert "80 earlier ones are left out" in body
    assert "  81. s81 (cross-compiled) - lost\n" in body
    assert "  80. s80" not in body


def test_an_expired_request_is_told_until_when_it_waited_and_for_what() -> None:
    body = told(expired())[1]
    assert "2023-11-21 22:13 UTC" in body
    assert "  No build server with arch=ppc came." in body


def test_an_expired_request_is_told_why_nobody_built_it_which_stands_on_the_request() -> None:
    """Of its Build it is only known that nobody waited any more."""
    why = "no build server took it before the request expired: anna lacks tool ppc-gcc; bert is paused: by hand"
    mail = evolve(expired(), requests=(evolve(request(), reason=why),))
    body = " ".join(told(mail)[1].split())
    assert "anna lacks tool ppc-gcc; bert is paused: by hand." in body
    assert "no build server with arch=ppc came" not in body


def test_who_waited_for_a_build_that_the_operator_aborted_is_told_the_reason() -> None:
    reason = "aborted by the operator: the branch was wrong"
    made = evolve(build(BuildState.CANCELLED), deciding_epoch=None, reason=reason)
    subject, body = told(evolve(cancelled(), build=made, requests=(evolve(request(), reason=reason),)))
    assert subject.startswith("[lua] linux ppc: cancelled: v5.4")
    assert "  Aborted by the operator: the branch was wrong." in body
    assert "Ask again" in body


def missing(**changed: Any) -> OutgoingMail:
    """The mail to the owner of orion, which is missing for an hour; ``changed`` is how it stands now."""
    mail = Mail("missing:orion:4:o@example.org", "o@example.org", None, (), RequestState.WAITING, WALL, server="orion")
    capability = Capability((), (), (), admin="Olga <o@example.org>")
    server = Server("orion", 4, capability, False, WALL - 3_600, WALL - 3_600, missing_since=WALL - 3_600)
    had = RunningBuild(evolve(attempt(end=AttemptEnd.LOST), state=AttemptState.MISSING), build(BuildState.QUEUED))
    return OutgoingMail(mail, None, (), None, (), 0, server=evolve(server, **changed), lost=(had,))


def test_the_owner_of_a_missing_build_server_is_told_which_since_when_what_it_built_and_how_to_hear_no_more() -> None:
    subject, body = told(missing())
    words = " ".join(body.split())
    assert subject == "[build farm] orion is missing since 2023-11-14 21:13 UTC"
    assert "last heard of at 2023-11-14 21:13 UTC" in words
    assert "build 12: lua 3f2a1b9c4d5e for linux ppc" in words
    assert "bin/buildserver.py --name orion" in body
    for word in ("SIGTERM", "--admin", "o@example.org"):
        assert word in words
    assert all(len(line) <= WIDTH for line in body.splitlines())


def test_an_owner_whose_build_server_is_back_when_the_mail_goes_out_is_told_so() -> None:
    body = " ".join(told(missing(connected=True, missing_since=0.0, last_seen=WALL + 50))[1].split())
    assert "heard of again since" in body
    assert "expects it any time" not in body
    assert told(evolve(missing(), server=None, lost=()))[0].startswith("[build farm] orion is missing")


@given(HOSTILE, HOSTILE)
def test_nothing_that_a_build_server_says_of_itself_breaks_the_form_of_the_mail_about_it(name: str, ref: str) -> None:
    mail = missing()
    spec = evolve(build().spec, project=ref, revision=ref)
    had = RunningBuild(mail.lost[0].attempt, evolve(build(), spec=spec))
    subject, body = told(evolve(mail, mail=evolve(mail.mail, server=name or "x"), lost=(had,)))
    read = parse(compose("farm@example.org", "o@example.org", subject, body, key="k", now=WALL))
    assert read.get_content() == body
    assert body.replace("\n", "").isprintable()


def test_one_mail_tells_of_all_requests_of_its_address_and_what_each_asked_for() -> None:
    near = request(19, ref="main", revrange="3")
    near = evolve(near, demand=evolve(near.demand, spec=evolve(near.demand.spec, revision="0" * 40)))
    mail = outgoing()
    body = told(evolve(mail, mail=evolve(mail.mail, request_ids=(17, 19)), requests=(request(), near)))[1]
    assert "Request 17  v5.4, of" in body
    assert "Request 19  main --revrange 3 (000000000000, for which the revision below" in body
    assert "answers the requests 17 and 19 of alice@example.org" in " ".join(body.split())


def test_what_differs_from_the_platform_asked_for_is_told_beside_it_with_its_direction() -> None:
    """A binary for an older C library is one that was asked for: "2.31, asked for 2.36" would look like a mistake."""
    mail = evolve(outgoing(), artifact=evolve(artifact(), platform=(("arch", "ppc"), ("libc_version", "2.31"))))
    wanted = (("arch", "ppc"), ("bits", 32), ("libc_version", "2.36"))
    made = build()
    body = told(evolve(mail, build=evolve(made, spec=evolve(made.spec, platform=wanted))))[1]
    assert "  Platform    arch=ppc libc_version=2.31\n" in body
    assert "  Asked for   bits 32, libc_version ≤ 2.36\n" in body
    assert "  Needs " not in body
    less = evolve(mail.artifact or artifact(), need=(("libc_version", "2.17"),))
    assert "  Needs       libc_version 2.17 or later\n" in told(evolve(mail, artifact=less))[1]
    same = evolve(mail, build=evolve(made, spec=evolve(made.spec, platform=(("arch", "ppc"),))))
    assert "Asked for" not in told(same)[1]


@pytest.mark.parametrize("outcome", ENDS)
def test_every_outcome_can_be_told_of_rows_that_are_gone(outcome: RequestState) -> None:
    mail = OutgoingMail(outgoing(outcome=outcome).mail, None, (), None, (), 0)
    subject, body = told(mail)
    assert subject
    assert body.replace("\n", "").isprintable()


@pytest.mark.parametrize("make", [outgoing, failed, unbuildable, expired, cancelled])
def test_prose_is_narrow_and_only_what_must_be_copied_whole_is_wider(make: Callable[[], OutgoingMail]) -> None:
    mail = make()
    wide = [line for line in told(mail)[1].splitlines() if len(line) > WIDTH]
    assert all("http://" in line or "sha256sum" in line for line in wide)


def test_what_is_no_outcome_is_a_defect() -> None:
    with pytest.raises(InternalError):
        told(outgoing(outcome=RequestState.WAITING))


@given(st.sampled_from(ENDS), HOSTILE, HOSTILE, ANYTHING, HOSTILE, ANYTHING)
def test_nothing_that_strangers_write_breaks_the_form_of_a_mail(
    outcome: RequestState, log_tail: str, ref: str, option: str, reason: str, name: str
) -> None:
    asked = request(ref=ref, revrange=option)
    options = (("opt", option),)
    ended = evolve(attempt(1, name, AttemptEnd.FAILED, reason), log_tail=log_tail)
    made = evolve(build(), spec=evolve(build().spec, options=options, source=ref), reason=reason, failed_on=(name, ref))
    stored = evolve(artifact(), name=name, options=options, server=name)
    found = stored if outcome is RequestState.SATISFIED else None
    mail = OutgoingMail(outgoing(outcome=outcome).mail, made, (asked,), found, (ended,), 0)
    written = letter(mail)
    subject, body = words(written)
    message = compose_letter("farm@example.org", "alice@example.org", written, key="k", now=WALL)
    read = parse(message)
    assert mail_text(read) == body
    assert mail_html(read) == written.html
    assert read["Subject"].strip() == subject.strip()
    assert len(read.keys()) == 12
    assert body.replace("\n", "").isprintable()
    assert written.html.replace("\n", "").isprintable()
    assert max(map(len, message.split(b"\n"))) <= 998
    shown = MailPage(written.html)
    assert shown.tags <= HARMLESS
    assert all(link.startswith("http://farm.test") for link in shown.links)


@given(st.text(st.sampled_from("aü=?_.;:() \u2028"), max_size=200) | st.text(st.sampled_from("ab =?qQ8"), max_size=200))
@example("=?utf-8?q?=1b]0=3bpwned=07?=")
@example("ü, (. b ;ü  ?) " * 9)
@example("x" * 150)
def test_a_subject_reads_back_as_it_was_with_every_space_and_nothing_in_it_is_taken_for_encoded(text: str) -> None:
    subject = plain(f"[x] {text}", 150)
    message = compose("farm@example.org", "alice@example.org", subject, "b\n", key="k", now=WALL)
    assert str(parse(message)["Subject"]).strip() == subject.strip()
    assert all(len(line) <= WIDTH for line in message.splitlines())


def test_both_parts_tell_the_same_and_what_matters_most_stands_before_all_else() -> None:
    """The artifact, or the first error with what is around it."""
    ready = letter(outgoing())
    page = MailPage(ready.html)
    assert page.links == [f"http://farm.test:23433/artifacts/{DIGEST}/{NAME}", "http://farm.test/build/12"]
    assert ready.text.index(page.links[0]) < ready.text.index("Project")
    assert page.text.index("Ready") < page.text.index("Fetch it (1.2 MiB)") < page.text.index("Project")
    log = "".join(f"cc -c {name}.c\n" for name in "abcdef") + "d.c:1: error: no\nx\ny\nz\nmake: *** [all] Error 1\n"
    bad = letter(failed(log))
    page = MailPage(bad.html)
    for part in (bad.text, page.text):
        assert "The first error" in part
        first = part.index("d.c:1: error: no")
        assert part.index("cc -c d.c") < first < part.index("Project") < part.rindex("Project") + 1
    assert ">> d.c:1: error: no\n" in bad.text
    assert "<b>d.c:1: error: no</b>" in bad.html
    assert {*page.links} == {"http://farm.test/build/12", "http://farm.test/logs/12"}
    assert all(link in bad.text for link in page.links)


def test_the_first_error_of_the_whole_log_is_told_with_its_line_where_that_is_known() -> None:
    excerpt = Excerpt(1_200, ("cc -c big.c", "big.c:7: error: <b>no</b>"), 1)
    found = render(failed("the end\n"), LINKS, WALL, error=excerpt)
    assert "The first error, line 1201 of its log:\n\n>  cc -c big.c\n>> big.c:7: error: <b>no</b>\n" in found.text
    assert "The first error, line 1201 of its log" in found.html
    assert "<b>big.c:7: error: &lt;b&gt;no&lt;/b&gt;</b>" in found.html


@pytest.mark.parametrize("make", [outgoing, failed, unbuildable, expired, cancelled])
def test_the_state_is_told_by_word_shape_and_colour_in_the_pages_colours_and_all_of_it_is_small(
    make: Callable[[], OutgoingMail],
) -> None:
    html = letter(make()).html
    (state,) = re.findall(
        r'<p class="state (\w+)"><span class="shape" aria-hidden="true">(.)</span>([A-Z][a-z ]+)', html
    )
    assert len(state) == 3
    pages = (Path(__file__).parents[3] / "web/static/style.css").read_text()
    assert set(re.findall(r"#[0-9a-f]{6}", html)) <= set(re.findall(r"#[0-9a-f]{6}", pages))
    page = MailPage(html)
    assert page.tags <= HARMLESS
    assert page.attributes <= {"lang", "charset", "name", "content", "class", "aria-hidden", "href", "scope"}
    assert len(html) < 8_000


def test_each_state_has_a_shape_of_its_own() -> None:
    shapes = {re.search(r'aria-hidden="true">(.)<', letter(make()).html)[1] for make in KINDS}  # type: ignore[index]
    assert len(shapes) == len(KINDS)


KINDS = (outgoing, failed, unbuildable, expired, cancelled)


def headers(written: Letter, name: str = "farm@example.org") -> EmailMessage:
    return parse(compose_letter(name, "a@example.org", written, key="k", now=WALL))


def test_subjects_sort_and_mails_thread_by_project_and_platform() -> None:
    ready, bad = headers(letter(outgoing())), headers(letter(failed()))
    assert ready["References"] == ready["In-Reply-To"] == bad["References"] != ready["Message-ID"]
    other = evolve(outgoing(), artifact=evolve(artifact(), platform=(("os", "linux"), ("arch", "arm"))))
    assert headers(letter(other))["References"] != ready["References"]
    assert str(ready["Subject"]).partition(": ")[0] == str(bad["Subject"]).partition(": ")[0] == "[lua] linux ppc"
    assert ready["List-Id"] == "<lua.builds.example.org>"
    assert ready["Auto-Submitted"] == "auto-generated"
    assert headers(letter(missing()))["List-Id"] == "<builds.example.org>"
    digest = evolve(outgoing("digest:1"), build=None, artifact=None, attempts=(), members=(outgoing(),))
    assert headers(letter(digest))["References"] is None


def test_a_farm_that_has_a_name_and_a_contact_says_so_and_is_asked_there_to_stop() -> None:
    farm = Deployment("Bücher & Builds", "https://farm.test/about", "help@farm.test")
    written = render(outgoing(), LINKS, WALL, MailStyle(farm=farm))
    read = headers(written)
    (sender,) = read["From"].addresses
    assert (sender.display_name, sender.addr_spec) == ("Bücher & Builds", "farm@example.org")
    assert read["List-Unsubscribe"] == "<mailto:help@farm.test?subject=unsubscribe>"
    assert read["List-Help"] == "<https://farm.test/about>"
    assert written.text.endswith("\nBücher & Builds: https://farm.test/about\nQuestions: help@farm.test\n")
    assert {"https://farm.test/about", "mailto:help@farm.test"} < set(MailPage(written.html).links)
    place = ProjectPlace("https://lua.test", "lua@lua.test")
    both = render(outgoing(), LINKS, WALL, MailStyle(farm=farm, places={"lua": place}))
    assert "\nlua: https://lua.test\nQuestions about lua: lua@lua.test\nBücher & Builds: " in both.text
    assert {"https://lua.test", "mailto:lua@lua.test"} < set(MailPage(both.html).links)
    lost = render(missing(), LINKS, WALL, MailStyle(farm=farm, places={"lua": place}))
    assert "lua.test" not in lost.text
    assert lost.subject.startswith("[Bücher & Builds] orion is missing")
    unnamed = headers(letter(outgoing()))
    assert unnamed["From"] == "farm@example.org"
    assert unnamed["List-Unsubscribe"] == "<mailto:farm@example.org?subject=unsubscribe>"


def test_a_new_binary_of_a_branch_is_told_with_how_the_watch_ends_and_those_of_a_day_in_one_mail() -> None:
    made = outgoing()
    came = evolve(made, mail=evolve(made.mail, request_ids=(), about="watch:7 refs/heads/main"), requests=())
    alone = letter(came)
    assert alone.text.startswith("A new binary of main: lua 3f2a1b9c4d5e for linux ppc.\n\nFetch it:\n")
    assert "bin/startcompile.py unwatch 7" in alone.text
    assert "unwatch 7" in alone.html
    assert "This mail answers" not in alone.text + alone.html
    day = letter(evolve(came, members=(came, evolve(came, artifact=None))))
    assert day.subject == "[lua] 2 new binaries of main"
    assert day.text.startswith("2 new binaries of main of lua, which you watch.\n")
    assert day.text.count("* lua 3f2a1b9c4d5e for linux ppc") == 2
    assert "ready once, but no longer kept" in day.text
    assert "unwatch 7" in day.text
    assert letter(evolve(came, members=(came,))).subject == "[lua] 1 new binary of main"


@pytest.mark.parametrize("name", ["farm@example.org", "j\u00fcrg@example.org"])
def test_the_link_that_ends_mails_stands_whole_in_the_head_and_at_the_end(name: str) -> None:
    token = "aB-_." * 140
    style = MailStyle(unsubscribe=f"https://farm.test/unsubscribe/{token}")
    for written in (render(outgoing(), LINKS, WALL, style), render(missing(), LINKS, WALL, style)):
        message = compose_letter(name, "a@example.org", written, key="k", now=WALL)
        head = message.partition(b"\n\n")[0].decode()
        assert f"\nList-Unsubscribe: <{style.unsubscribe}>,\n <mailto:" in head
        assert "\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\n" in head
        assert max(map(len, head.split("\n"))) < 998
        assert f"End mails like this one:\n\n  {style.unsubscribe}\n" in written.text
        assert style.unsubscribe in MailPage(written.html).links


def test_one_click_is_promised_only_over_https() -> None:
    plain = headers(render(outgoing(), LINKS, WALL, MailStyle(unsubscribe="http://farm.test/unsubscribe/x")))
    assert plain["List-Unsubscribe"].startswith("<http://farm.test/unsubscribe/x>, <mailto:")
    assert plain["List-Unsubscribe-Post"] is None


def test_a_log_that_holds_the_boundary_of_the_parts_does_not_end_them() -> None:
    """Whoever builds may know by what the Message-ID and the boundary are made."""
    digest = hashlib.sha256(b"k").hexdigest()[:40]
    written = Letter("s", f"a\n--={digest}=\nb\n--={digest}=--\nc\n", f"<p>--={digest}=--</p>\n")
    read = headers(written)
    assert mail_text(read) == written.text
    assert mail_html(read) == written.html


SPAM = "BUY NOW http://evil.example/ " * 8


@pytest.mark.parametrize("outcome", ENDS)
def test_what_strangers_write_is_quoted_never_in_the_subject_and_no_link(outcome: RequestState) -> None:
    """The only links are the farm's own."""
    ended = evolve(attempt(1, "liar", AttemptEnd.FAILED, SPAM), log_tail=SPAM)
    spec = evolve(build().spec, options=(("note", SPAM),))
    made = evolve(build(), spec=spec, reason=SPAM)
    asked = evolve(request(ref="http://evil.example/BUY"), reason=SPAM, state=outcome)
    mail = OutgoingMail(outgoing(outcome=outcome).mail, made, (asked,), None, (ended,), 0)
    digest = evolve(mail, build=None, attempts=(), members=(mail, mail))
    usual: dict[str, dict[str, Value | None]] = {"lua": {"note": ""}}
    for one in (mail, digest, evolve(mail, mail=evolve(mail.mail, summary=True), build=None, attempts=())):
        subject, body = words(render(one, LINKS, WALL, knowing(usual)))
        assert "evil" not in subject
        assert "BUY" not in subject
        assert "://" not in body.replace("http://farm.test", "")
        if outcome in (RequestState.FAILED, RequestState.UNBUILDABLE):
            assert "> BUY NOW http[:]//evil.example/ BUY NOW" in body


def test_a_digest_tells_everything_that_each_of_its_mails_would_and_is_one_mail() -> None:
    satisfied = outgoing("1:satisfied:alice@example.org")
    satisfied = evolve(satisfied, requests=(evolve(request(1), state=RequestState.SATISFIED, artifact_id=5),))
    lost = evolve(
        failed(), requests=(evolve(request(2), state=RequestState.FAILED, reason="make exited with 2", build_id=12),)
    )
    together = evolve(outgoing(), mail=evolve(outgoing().mail, summary=True), requests=(request(3), request(4)))
    gone = OutgoingMail(evolve(outgoing().mail, request_ids=(5, 6)), None, (), None, (), 0)
    members = (satisfied, lost, together, gone, missing())
    mail = evolve(outgoing("digest:1"), build=None, artifact=None, attempts=(), members=members)
    subject, body = told(mail)
    assert subject == "[build farm] 6 things are told in one mail"
    assert "* request 1 of lua: " in body
    assert f"http://farm.test:23433/artifacts/{DIGEST}/{NAME}\n    SHA-256 {DIGEST}\n" in body
    assert "    > Make exited with 2.\n    http://farm.test/build/12\n" in body
    for number in (3, 4):
        assert f"* request {number} of lua: " in body
    assert "* requests 5 and 6: ready" in body
    assert "is missing since" in body
    assert parse(compose("farm@example.org", "a@example.org", subject, body, key="k", now=WALL)).get_content() == body


@given(HOSTILE)
def test_the_end_of_a_log_is_bounded_and_printable(tail: str) -> None:
    lines = log_end(tail * 50)
    assert len(lines) <= LOG_LINES
    assert sum(len(line.encode()) + 1 for line in lines) <= LOG_BYTES
    assert all(line.isprintable() for line in lines)


def test_of_a_long_log_the_last_lines_are_shown() -> None:
    assert log_end("\n".join(f"line {n}" for n in range(1000))) == [f"line {n}" for n in range(1000 - LOG_LINES, 1000)]


def test_of_a_progress_display_the_last_state_is_shown_and_of_colours_nothing() -> None:
    assert log_end("10%\r50%\r100%\n\x1b[1;31merror:\x1b[0m no\r\n\x1b]0;title\x07\ttabbed\n\n") == [
        "100%", "error: no", "        tabbed",
    ]  # fmt: skip


def test_a_log_that_is_one_endless_line_is_cut() -> None:
    (line,) = log_end("x" * 10**6)
    assert len(line) < 500
    assert line.endswith("…")


@given(st.text())
def test_plain_text_is_one_printable_line_of_bounded_length_and_printable_text_is_kept(text: str) -> None:
    line = plain(text, 50)
    assert line.isprintable()
    assert len(line) <= 50
    if text.isprintable() and len(text) <= 50:
        assert line == text


def test_the_test_mail_says_who_sent_it_and_that_nothing_needs_to_be_done() -> None:
    body = render_test("a@example.org", "mail.test:25", WALL).text
    assert "bin/metaserver mail-test" in " ".join(body.split())
    assert "Nothing needs to be done" in " ".join(body.split())


def test_the_command_in_a_mail_with_a_code_says_whom_it_is_for() -> None:
    mail = Mail("first:code:1", "ben@example.org", None, (), RequestState.WAITING, WALL, purpose="login")
    body = render_code(mail, "aaaa-bbbb", "https://farm.test", ("farm.test", 443), "7" * 64).text
    command = next(line for line in body.splitlines() if "startcompile.py" in line)
    said = "login ben@example.org --host farm.test --port 443 --code aaaa-bbbb --fingerprint sha256:"
    assert command.strip() == f"bin/startcompile.py {said}{'7' * 64}"
    assert "--fingerprint" not in render_code(mail, "aaaa-bbbb", "https://farm.test", ("farm.test", 443), "").text
