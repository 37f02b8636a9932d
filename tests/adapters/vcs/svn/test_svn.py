"""Subversion over file:// and svnserve: what revisions mean, ranges, working copies that are reused, hostile input."""

import hashlib
import os
import socket
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase

from buildtool.adapters.runtime.threads import Threads
from buildtool.adapters.vcs.by_url import Checkouts, Resolvers
from buildtool.adapters.vcs.process import ProcessOutput, TimedOut
from buildtool.adapters.vcs.svn.command import SvnCommand, elements, explain, failure, revisions, unclean
from buildtool.adapters.vcs.svn.copies import SvnSources
from buildtool.adapters.vcs.svn.refs import Address, address, full_id, full_number, is_svn, revision_number
from buildtool.adapters.vcs.svn.resolver import SvnResolver
from buildtool.errors import BuildToolError, MachineFault, RepositoryUnreachable, UnknownRef, UsageError
from buildtool.model.search.commits import CommitNote
from buildtool.model.trust.sources import EVERY_REF, TrustedRefs
from buildtool.ports.buildserver import SourceCopy
from tests.adapters.vcs.svn.repositories import SvnOrigin
from tests.support.packages import require

HOSTILE_URLS = [
    "svn://",
    "svn:///p",
    "svn://-oProxyCommand=x/p",
    "svn+ssh://-oProxyCommand=x/p",
    "svn+ssh://-x@h/p",
    "svn+ssh://h:p/q",
    "svn+ssh://u:secret@h/p",
    "svn+custom://h/p",
    "svn+file://host/p",
    "svn+file:///",
    "svn+file://u:secret@/p",
    "svn+svn://h/p",
    "svn://h/a\nb",
    "svn://h/a\0b",
    "svn://h/\u202eb",
    "svn://h/../p",
    "svn://h/a/%2e%2e/p",
    "svn://u:secret%0a@h/p",
    "svn://%2dx@h/p",
    "svn://h b/p",
    "svn://h/" + "a" * 2000,
    "file:///p",
    "https://h/p",
    "-x",
    "",
]


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_what_is_no_address_of_a_subversion_repository_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(RepositoryUnreachable) as raised:
        address(url)
    assert str(raised.value).isprintable()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("svn://h/p", Address("svn://h/p")),
        ("svn://h:3690/a b@2/ä", Address("svn://h:3690/a b@2/ä")),
        ("SVN+FILE:///srv/p", Address("file:///srv/p")),
        ("svn+https://joe:p%40ss@h/p", Address("https://h/p", "joe", "p@ss")),
        ("svn+http://[::1]:80/p", Address("http://[::1]:80/p")),
        ("svn+ssh://joe@h/p", Address("svn+ssh://joe@h/p")),
        ("svn+ssh://h/p", Address("svn+ssh://h/p")),
        ("svn://joe@h/p", Address("svn://h/p", "joe")),
    ],
)
def test_svn_is_told_the_url_without_what_it_does_not_belong_to(url: str, told: Address) -> None:
    assert address(url) == told
    assert "p@ss" not in repr(told)


@given(
    st.sampled_from(["svn://", "svn+ssh://", "svn+file://", "svn+https://", "svn+", ""]),
    st.text(max_size=40) | st.from_regex(r"[a@:/.%\-\x00-\x20]{0,30}", fullmatch=True),
)
def test_no_address_can_be_an_option_or_more_than_one_line_or_another_tunnel(scheme: str, rest: str) -> None:
    try:
        told = address(scheme + rest)
    except RepositoryUnreachable as error:
        assert str(error).isprintable()  # noqa: PT017
        return
    assert told.url.startswith(("svn://", "svn+ssh://", "file:///", "http://", "https://"))
    assert (told.url + told.user + told.password).isprintable()
    host = told.url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    assert not host.startswith("-")
    assert not told.user.startswith("-")
    assert told.at("12").endswith("@12")


@pytest.mark.parametrize(("ref", "number"), [("1", 1), ("r1", 1), ("r0012", 12), ("9999999999", 9999999999)])
def test_a_number_with_or_without_r_is_a_revision(ref: str, number: int) -> None:
    assert revision_number(ref, "svn://h/p") == number
    assert full_number(full_id(number), "svn://h/p") == number


@pytest.mark.parametrize(
    "ref",
    ["", "-1", "-r1", "r", "0", "r0", "R1", "1.5", "{2024-01-01}", "BASE", "PREV", "COMMITTED", "trunk", "1:2", "1\n",
     "٣", "1" * 11, "HEAD\n", "head", " 1", "r-1", "1@2", "\ud800"],
)  # fmt: skip
def test_anything_else_than_a_number_or_head_is_an_unknown_ref_in_one_line(ref: str) -> None:
    with pytest.raises(UnknownRef) as raised:
        revision_number(ref, "svn://joe:secret@h/p")
    assert str(raised.value).isprintable()
    assert "secret" not in str(raised.value)


@given(st.text(max_size=30) | st.from_regex(r"[rR]?-?[0-9]{0,12}", fullmatch=True))
def test_whatever_is_typed_is_a_number_or_head_or_refused(ref: str) -> None:
    try:
        number = revision_number(ref, "svn://h/p")
    except UnknownRef as error:
        assert str(error).isprintable()  # noqa: PT017
        return
    assert ref == "HEAD" if number is None else 0 < number < 10**10


@pytest.mark.parametrize("commit", ["1", "r0", "r01", "R1", "r", "r1\n", "HEAD", "a" * 40, "r٣", "r" + "1" * 11])
def test_only_r_and_a_plain_number_is_a_full_id(commit: str) -> None:
    with pytest.raises(UnknownRef):
        full_number(commit, "svn://h/p")


@given(st.binary(max_size=200) | st.from_regex(rb"<log>(<logentry( revision=\"[0-9]{0,3}\")?/?>){0,3}</log>"))
def test_whatever_svn_answers_is_a_list_of_revisions_or_the_machines_fault(data: bytes) -> None:
    for read in (revisions, unclean):
        try:
            read(data)
        except MachineFault as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_revisions_and_unclean_paths_are_read_from_real_answers() -> None:
    log = b'<?xml version="1.0" encoding="UTF-8"?><log><logentry revision="7"/><logentry revision="3"></logentry></log>'
    assert revisions(log) == [7, 3]
    assert revisions(b"<log></log>") == []
    status = b'<status><target path="."><entry path="x"><wc-status item="unversioned"/></entry></target></status>'
    assert unclean(status) == ["x"]


@pytest.mark.parametrize(
    "document",
    [
        b'<!DOCTYPE log [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><log>&b;</log>',
        b'<!DOCTYPE log SYSTEM "file:///etc/passwd"><log/>',
        b'<!DOCTYPE log [<!ENTITY x SYSTEM "file:///etc/passwd">]><log>&x;</log>',
        b"<a>" * 50 + b"</a>" * 50,
        b"<log>" + b"<e/>" * 100_001 + b"</log>",
        b"<log>",
        b"<log>&x;</log>",
        b'<log><logentry revision="1e3"/></log>',
        b'<log><logentry revision="-1"/></log>',
        b"<log><logentry/></log>",
        b"",
    ],
)
def test_an_answer_with_entities_or_without_bounds_is_refused(document: bytes) -> None:
    with pytest.raises(MachineFault):
        revisions(document)


def test_elements_know_where_they_stand() -> None:
    assert [(one.path, dict(one.attributes)) for one in elements(b'<a><b c="d"/></a>')] == [
        ("a", {}),
        ("a/b", {"c": "d"}),
    ]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("svn: E160006: No such revision 99", UnknownRef),
        ("svn: E160013: File not found: revision 1, path '/trunk'", UnknownRef),
        ("svn: E195012: Unable to find repository location for 'x' in revision 1", UnknownRef),
        ("svn: E170013: Unable to connect\nsvn: E000111: Can't connect to host", RepositoryUnreachable),
        ("svn: E170001: Authentication error from server: Username not found", RepositoryUnreachable),
        ("svn: E175013: Access to '/p' forbidden", RepositoryUnreachable),
        ("svn: E000104: Can't read from connection: Connection reset by peer", RepositoryUnreachable),
        ("svn: E000028: Can't write: No space left on device", MachineFault),
        ("something else", RepositoryUnreachable),
        ("", RepositoryUnreachable),
    ],
)
def test_whose_fault_it_is_is_told_by_svns_error_numbers(said: str, kind: type[BuildToolError]) -> None:
    error = failure(Address("svn+ssh://joe@h/p"), ProcessOutput(1, b"", said), "r1")
    assert type(error) is kind
    assert "joe" not in str(error)
    assert "\n" not in str(error)


def test_svns_last_line_is_chosen_and_masked() -> None:
    said = "svn: E170013: no\nsvn: E000111: svn://joe:secret@h/p: Connection refused\n\n"
    assert explain(ProcessOutput(1, b"", said)) == "svn: E000111: svn://***@h/p: Connection refused"
    assert explain(ProcessOutput(1, b"", "svn: E1: a\x1b[2Jb")) == "svn: E1: a?[2Jb"
    assert explain(ProcessOutput(3, b"", "")) == "it ended with code 3"


def test_a_machine_without_svn_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineFault, match="install subversion"):
        SvnCommand(tmp_path / "configuration").run(["info"], cwd=tmp_path)


def program(directory: Path, name: str, text: str) -> None:
    """Put a program in the place of svn's."""
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{text}\n")
    (directory / name).chmod(stat.S_IRWXU)


def test_an_svn_that_is_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "svn", "echo 1.9.7")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(MachineFault, match=r"1\.10 or newer"):
        SvnCommand(tmp_path / "configuration").run(["info"], cwd=tmp_path)


def test_an_svn_that_takes_too_long_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only what svn starts holds the fifo open for writing, so its end of file says that all of it is gone.
    held = tmp_path / "held"
    os.mkfifo(held)
    reading = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    said = f'test "$1" = --version && echo 1.14.2 && exit; exec 9>"{held}"; sleep 600 & sleep 600'
    program(tmp_path / "bin", "svn", said)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    try:
        with pytest.raises(TimedOut, match="svn log took longer"):
            SvnCommand(tmp_path / "configuration").run(["log"], cwd=tmp_path, limit=0.5)
        os.set_blocking(reading, True)
        assert os.read(reading, 1) == b""
    finally:
        os.close(reading)


def test_a_password_goes_through_standard_input_and_never_among_the_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = f'test "$1" = --version && echo 1.14.2 && exit; echo "$@" >"{tmp_path}/words"; cat >"{tmp_path}/input"'
    program(tmp_path / "bin", "svn", said)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    SvnCommand(tmp_path / "configuration").run(["log"], cwd=tmp_path, login=address("svn://joe:secret@h/p"))
    words = (tmp_path / "words").read_text()
    assert "--username=joe" in words
    assert "--non-interactive" in words
    assert "--no-auth-cache" in words
    assert "secret" not in words
    assert (tmp_path / "input").read_text() == "secret\n"


def test_ssh_is_started_so_that_it_asks_nothing_and_takes_a_host_for_no_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = SvnOrigin(tmp_path / "origin")
    change = origin.commit()
    said = f"""echo "$@" >"{tmp_path}/words"; exec svnserve --tunnel --root="{origin.repository}\""""
    program(tmp_path / "bin", "ssh", said)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.delenv("SVN_SSH", raising=False)
    where = address("svn+ssh://joe@farm.example/trunk")
    answer = SvnCommand(tmp_path / "configuration").run(
        ["log", "--xml", "--quiet", where.at("HEAD")], cwd=tmp_path, login=where
    )
    assert [full_id(one) for one in revisions(answer.out)] == [change], answer.err
    words = (tmp_path / "words").read_text()
    assert "BatchMode=yes" in words
    assert words.endswith(" -- joe@farm.example svnserve -t\n")


def test_nobody_is_called_for_a_shut_down_program(tmp_path: Path) -> None:
    require("svn", "subversion")
    command = SvnCommand(tmp_path / "configuration")
    command.close()
    with pytest.raises(MachineFault, match="shutting down"):
        command.run(["info"], cwd=tmp_path)


@pytest.mark.parametrize(
    ("url", "svn"),
    [
        ("svn://h/p", True),
        ("SVN+SSH://h/p", True),
        ("svn+file:///p", True),
        ("svn+https://h/p", True),
        ("svn+unknown://h/p", True),
        ("file:///p", False),
        ("https://h/svn/p", False),
        ("svnhost:p", False),
        ("/srv/svn", False),
        ("git@svn:p", False),
    ],
)
def test_the_scheme_says_which_version_control_it_is(url: str, svn: bool) -> None:
    assert is_svn(url) is svn


class SvnCase(TestCase):
    """A repository, a resolver and working copies."""

    timeout = 60

    def setUp(self) -> None:
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        # With an @ in it, because svn takes what follows an @ for a revision.
        self.directory = Path(directory.name).resolve() / "here@5"
        self.origin = SvnOrigin(self.directory / "origin")
        self.url = self.origin.url()
        self.threads = Threads(cast("IReactorFromThreads", reactor), 4, "svn")
        self.addCleanup(self.threads.stop)
        self.command = SvnCommand(self.directory / "configuration")
        self.addCleanup(self.command.close)
        self.resolver = SvnResolver(self.command, self.threads)
        self.sources = SvnSources(self.command, self.directory / "copies", self.threads)

    def restarted(self) -> SvnResolver:
        """The resolver of a program that has just started."""
        return SvnResolver(self.command, self.threads)

    async def refusal(self, ref: str, url: str | None = None) -> BuildToolError:
        try:
            found = await self.resolver.resolve(url or self.url, ref)
        except BuildToolError as error:
            self.assertTrue(str(error).isprintable(), str(error))
            return error
        return self.fail(f"{ref} resolved to {found}")

    async def unacceptable(self, commit: str, revrange: str) -> BuildToolError:
        try:
            found = await self.resolver.acceptable(self.url, commit, revrange)
        except BuildToolError as error:
            self.assertTrue(str(error).isprintable(), str(error))
            return error
        return self.fail(f"{revrange} accepts {found}")


class ResolveTests(SvnCase):
    """What a revision means for a path is asked of the repository."""

    async def test_head_is_the_last_change_of_the_path_whatever_changes_elsewhere(self) -> None:
        change = self.origin.commit("trunk/file")
        self.assertEqual(await self.resolver.resolve(self.url, "HEAD"), change)
        self.origin.commit("elsewhere/file")
        self.assertEqual(await self.resolver.resolve(self.url, "HEAD"), change)
        later = self.origin.commit("trunk/deep/file")
        self.assertEqual(await self.resolver.resolve(self.url, "HEAD"), later)

    async def test_a_revision_is_about_the_first_paragraph_of_its_message(self) -> None:
        self.origin.write("trunk/file")
        self.origin.svn("add", "-q", "--force", ".")
        self.origin.svn("commit", "-q", "-m", "Gr\u00fc\u00dfe <b>&\nan alle\n\nLanger Text")
        change = await self.resolver.resolve(self.url, "HEAD")
        found = await self.resolver.about(self.url, change)
        assert found is not None
        self.assertEqual(found.subject, "Gr\u00fc\u00dfe <b>& an alle")
        self.assertTrue(found.author)
        self.assertGreater(found.at, 1.7e9)

    async def test_a_number_is_the_last_change_of_the_path_up_to_it(self) -> None:
        first = self.origin.commit("trunk/file")
        between = self.origin.commit("elsewhere/file")
        second = self.origin.commit("trunk/file")
        for ref, meant in ((first, first), (between, first), (between[1:], first), (second, second)):
            self.assertEqual(await self.resolver.resolve(self.url, ref), meant)

    async def test_what_was_asked_by_number_needs_no_repository_any_more(self) -> None:
        first = self.origin.commit("trunk/file")
        between = self.origin.commit("elsewhere/file")
        await self.resolver.resolve(self.url, between)
        self.origin.repository.rename(self.directory / "away")
        self.assertEqual(await self.resolver.resolve(self.url, between), first)
        self.assertEqual(await self.resolver.resolve(self.url, first), first)
        self.assertIsInstance(await self.refusal("HEAD"), RepositoryUnreachable)

    async def test_a_revision_above_the_newest_is_unknown_until_it_is_there(self) -> None:
        self.origin.commit("trunk/file")
        self.assertIsInstance(await self.refusal("2"), UnknownRef)
        self.assertEqual(await self.resolver.resolve(self.url, self.origin.commit("trunk/file")), "r2")

    async def test_a_path_that_was_not_there_yet_is_an_unknown_ref(self) -> None:
        self.origin.commit("elsewhere/file")
        self.origin.commit("trunk/file")
        error = await self.refusal("r1")
        self.assertIsInstance(error, UnknownRef)
        self.assertIn("trunk", str(error))
        self.assertIsInstance(await self.refusal("HEAD", self.origin.url("trunkk")), UnknownRef)

    async def test_a_path_that_was_deleted_since_is_still_what_it_was(self) -> None:
        change = self.origin.commit("trunk/file")
        self.origin.delete("trunk")
        self.assertEqual(await self.resolver.resolve(self.url, change), change)
        self.assertIsInstance(await self.refusal("HEAD"), UnknownRef)

    async def test_a_directory_inside_a_copy_is_at_a_revision_in_which_it_was_there(self) -> None:
        self.origin.commit("trunk/inner/file")
        self.origin.commit("trunk/file")
        copied = self.origin.copy("trunk", "branches/x")
        url = self.origin.url("branches/x/inner")
        # svn info calls r1 its last change, when there was no branches/x.
        self.assertEqual(await self.resolver.resolve(url, "HEAD"), copied)
        tree = await self.sources.checkout(url, copied, 0)
        self.assertEqual([path.name for path in tree.iterdir() if path.name != ".svn"], ["file"])

    async def test_the_root_of_the_repository_is_a_path_too(self) -> None:
        self.origin.commit("trunk/file")
        change = self.origin.commit("elsewhere/file")
        self.assertEqual(await self.resolver.resolve(self.origin.url(""), "HEAD"), change)

    async def test_paths_with_at_signs_spaces_and_umlauts_are_paths(self) -> None:
        change = self.origin.commit("trunk@2/a b/ä/file")
        self.origin.commit("elsewhere/file")
        url = self.origin.url("trunk@2/a b/ä")
        self.assertEqual(await self.resolver.resolve(url, "HEAD"), change)
        tree = await self.sources.checkout(url, change, 0)
        self.assertTrue((tree / "file").exists())

    async def test_what_does_not_answer_is_unreachable_with_svns_last_line(self) -> None:
        error = await self.refusal("HEAD", f"svn+file://{self.directory}/nothing/trunk")
        self.assertIsInstance(error, RepositoryUnreachable)
        self.assertIn("Unable to open repository", str(error))
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # nobody listens
            error = await self.refusal("HEAD", f"svn://joe:secret@127.0.0.1:{taken.getsockname()[1]}/p")
        self.assertIsInstance(error, RepositoryUnreachable)
        self.assertIn("Connection refused", str(error))
        self.assertNotIn("secret", str(error))

    async def test_a_pinned_revision_needs_nothing_and_no_other_can_be_pinned(self) -> None:
        await self.resolver.pin(self.url, "r1")
        with self.assertRaises(UnknownRef):
            await self.resolver.pin(self.url, "HEAD")

    async def test_many_who_ask_at_once_share_the_answers(self) -> None:
        change = self.origin.commit("trunk/file")
        asked = [Deferred.fromCoroutine(self.resolver.resolve(self.url, "HEAD")) for _ in range(40)]
        self.assertEqual(set(await gatherResults(asked)), {change})


class AcceptableTests(SvnCase):
    """A range counts changes of the path."""

    def setUp(self) -> None:
        super().setUp()
        self.changes = []
        for _ in range(5):
            self.changes.append(self.origin.commit("trunk/file"))
            self.origin.commit("elsewhere/file")

    async def test_a_number_accepts_so_many_changes_either_way_nearest_first_and_older_before_newer(self) -> None:
        one, two, three, four, five = self.changes
        accepts = self.resolver.acceptable
        self.assertEqual(await accepts(self.url, three, "1"), (three, two, four))
        self.assertEqual(await accepts(self.url, three, "9"), (three, two, four, one, five))
        self.assertEqual(await accepts(self.url, five, "2"), (five, four, three))
        self.assertEqual(await accepts(self.url, one, "1"), (one, two))
        self.assertEqual(await accepts(self.url, three, "0"), (three,))
        self.assertEqual(await accepts(self.url, three, ""), (three,))

    async def test_two_revisions_accept_the_changes_from_the_one_to_the_other(self) -> None:
        one, two, three, four, _ = self.changes
        accepts = self.resolver.acceptable
        self.assertEqual(await accepts(self.url, four, f"{two}..{four}"), (four, three, two))
        between = str(int(one[1:]) + 1)  # a revision of something else: the change before it is meant
        self.assertEqual(await accepts(self.url, two, f"{between}..{two[1:]}"), (two, one))
        self.assertEqual(await accepts(self.url, four, f"{four}..{four}"), (four,))

    async def test_a_range_that_runs_backwards_or_begins_nowhere_is_an_unknown_ref(self) -> None:
        one, _, three, _, _ = self.changes
        self.assertIsInstance(await self.unacceptable(one, f"{three}..{one}"), UnknownRef)
        self.assertIsInstance(await self.unacceptable(one, f"99..{one}"), UnknownRef)
        self.assertIsInstance(await self.unacceptable(one, f"trunk..{one}"), UnknownRef)

    async def test_what_is_no_range_is_a_usage_error(self) -> None:
        for revrange in ("1..2..3", "1001", "..", "x", "-1"):
            self.assertIsInstance(await self.unacceptable(self.changes[0], revrange), (UsageError, UnknownRef))

    async def test_a_range_stops_where_the_path_came_from_elsewhere(self) -> None:
        copied = self.origin.copy("trunk", "branches/x")
        url = self.origin.url("branches/x")
        later = self.origin.commit("branches/x/file")
        self.assertEqual(await self.resolver.acceptable(url, later, "9"), (later, copied))

    async def test_after_the_path_was_replaced_the_old_one_is_followed_by_nothing(self) -> None:
        self.origin.delete("trunk")
        again = self.origin.commit("trunk/file")
        four, five = self.changes[3:]
        self.assertEqual(await self.resolver.acceptable(self.url, five, "1"), (five, four))
        self.assertEqual(await self.resolver.acceptable(self.url, again, "9"), (again,))

    async def test_after_the_path_was_deleted_its_older_changes_are_still_accepted(self) -> None:
        self.origin.delete("trunk")
        four, five = self.changes[3:]
        self.assertEqual(await self.resolver.acceptable(self.url, five, "1"), (five, four))

    async def test_a_revision_that_is_no_change_of_the_path_is_unknown(self) -> None:
        self.assertIsInstance(await self.unacceptable("r2", "1"), UnknownRef)
        self.assertIsInstance(await self.unacceptable("a" * 40, "1"), UnknownRef)


class CheckoutTests(SvnCase):
    """A working copy holds exactly the revision, whatever was done to it before."""

    def setUp(self) -> None:
        super().setUp()
        self.origin.write("trunk/sub/inner", "inner\n")
        self.first = self.origin.commit("trunk/file", "first\n")
        self.second = self.origin.commit("trunk/file", "second\n")

    async def checked_out(self, commit: str, slot: int = 0) -> Path:
        return await self.sources.checkout(self.url, commit, slot)

    def names(self, tree: Path) -> list[str]:
        return sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if ".svn" not in path.parts)

    async def spoilt(self, spoil: Callable[[Path], object], *, reused: bool) -> Path:
        """Spoil a working copy and return it checked out again; say whether it had to be made anew."""
        tree = await self.checked_out(self.first)
        before = tree.stat().st_ino
        spoil(tree)
        self.assertEqual(await self.checked_out(self.second), tree)
        self.assertEqual((tree / "file").read_text(), "second\n")
        self.assertEqual(self.names(tree), ["file", "sub", "sub/inner"])
        self.assertEqual((tree / "sub" / "inner").read_text(), "inner\n")
        if reused:
            self.assertEqual(tree.stat().st_ino, before)
        return tree

    async def test_a_revision_is_checked_out_and_switched_back_and_forth_in_one_directory(self) -> None:
        tree = await self.checked_out(self.second)
        self.assertEqual((tree / "file").read_text(), "second\n")
        inode = tree.stat().st_ino
        for commit, text in ((self.first, "first\n"), (self.second, "second\n"), (self.second, "second\n")):
            self.assertEqual(await self.checked_out(commit), tree)
            self.assertEqual((tree / "file").read_text(), text)
        self.assertEqual(tree.stat().st_ino, inode)

    async def test_slots_and_urls_have_directories_of_their_own(self) -> None:
        self.origin.copy("trunk", "branches/x")
        trees = await gatherResults(
            [
                Deferred.fromCoroutine(self.checked_out(self.first, 0)),
                Deferred.fromCoroutine(self.checked_out(self.second, 1)),
                Deferred.fromCoroutine(self.sources.checkout(self.origin.url("branches/x"), "r3", 0)),
            ]
        )
        self.assertEqual([(tree / "file").read_text() for tree in trees], ["first\n", "second\n", "second\n"])
        self.assertEqual(len(set(trees)), 3)

    async def test_what_a_build_changed_added_and_deleted_is_undone(self) -> None:
        def spoil(tree: Path) -> None:
            (tree / "file").write_text("spoilt\n")
            (tree / "sub" / "inner").unlink()
            (tree / "junk").mkdir()
            (tree / "junk" / "more.o").write_text("junk")
            (tree / "sub" / "ignored.o").write_text("junk")
            subprocess.run(["svn", "propset", "-q", "svn:ignore", "*.o", "sub"], cwd=tree, check=True)
            (tree / "added").write_text("added")
            subprocess.run(["svn", "add", "-q", "added"], cwd=tree, check=True)

        await self.spoilt(spoil, reused=False)

    async def test_a_change_that_keeps_size_and_time_of_a_file_is_undone(self) -> None:
        tree = await self.checked_out(self.second)
        file = tree / "file"
        was = file.stat()
        file.write_text("secomd\n")
        os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
        inode = tree.stat().st_ino
        await self.checked_out(self.second)
        self.assertEqual((file.read_text(), tree.stat().st_ino), ("second\n", inode))

    async def test_the_copy_of_an_earlier_run_of_the_program_is_made_anew(self) -> None:
        tree = await self.checked_out(self.second)
        (tree / ".svn" / "left").touch()
        self.sources = SvnSources(self.command, self.directory / "copies", self.threads)
        await self.checked_out(self.second)
        self.assertFalse((tree / ".svn" / "left").exists())

    async def test_directories_that_cannot_be_written_and_pipes_are_no_obstacle(self) -> None:
        def spoil(tree: Path) -> None:
            os.mkfifo(tree / "pipe")
            (tree / "closed").mkdir()
            (tree / "closed" / "file").touch()
            (tree / "closed").chmod(0o500)
            (tree / "sub").chmod(0o500)

        await self.spoilt(spoil, reused=False)

    async def test_what_the_repository_ignores_is_removed_too(self) -> None:
        self.origin.svn("propset", "-q", "svn:ignore", "*.o", "trunk")
        third = self.origin.commit_all()
        tree = await self.checked_out(third)
        (tree / "left.o").write_text("junk")
        await self.checked_out(third)
        self.assertEqual(self.names(tree), ["file", "sub", "sub/inner"])

    async def test_links_out_of_the_tree_are_never_followed(self) -> None:
        outside = self.directory / "outside"
        outside.mkdir()
        for name in ("inner", "kept"):
            (outside / name).write_text("mine\n")

        def spoil(tree: Path) -> None:
            (tree / "sub" / "inner").unlink()
            (tree / "sub").rmdir()
            (tree / "sub").symlink_to(outside)
            (tree / "junk").symlink_to(outside)
            (tree / "file").unlink()
            (tree / "file").symlink_to(outside / "kept")

        await self.spoilt(spoil, reused=True)
        self.assertEqual([(outside / name).read_text() for name in ("inner", "kept")], ["mine\n", "mine\n"])

    async def test_a_link_in_the_place_of_the_copy_is_replaced(self) -> None:
        tree = await self.checked_out(self.first)
        moved = self.directory / "moved"
        tree.rename(moved)
        (moved / "kept").write_text("mine")
        tree.symlink_to(moved)
        await self.checked_out(self.second)
        self.assertFalse(tree.is_symlink())
        self.assertTrue((moved / "kept").exists())

    async def test_a_copy_of_something_else_that_a_build_put_there_is_replaced(self) -> None:
        other = SvnOrigin(self.directory / "other")
        other.commit("trunk/file", "other\n")

        def spoil(tree: Path) -> None:
            tree.rename(tree.with_name("old"))
            subprocess.run(["svn", "checkout", "-q", f"{other.root_url}/trunk@", f"{tree}@"], check=True)

        await self.spoilt(spoil, reused=False)

    async def test_a_copy_without_svns_own_files_is_replaced_even_inside_another_copy(self) -> None:
        subprocess.run(["svn", "checkout", "-q", f"{self.origin.root_url}@", f"{self.directory}@"], check=True)

        def spoil(tree: Path) -> None:
            (tree / ".svn").rename(self.directory / "taken")

        await self.spoilt(spoil, reused=False)

    async def test_a_corrupt_database_is_replaced(self) -> None:
        await self.spoilt(lambda tree: (tree / ".svn" / "wc.db").write_text("garbage"), reused=False)

    async def test_what_a_build_wrote_into_svns_own_files_is_believed_nowhere(self) -> None:
        """svn takes its pristine copies for the repository's: a build could change one, and its row."""

        def spoil(tree: Path) -> None:
            evil = b"evil!\n"
            digest = hashlib.sha1(evil, usedforsecurity=False).hexdigest()
            place = tree / ".svn" / "pristine" / digest[:2]
            place.mkdir(exist_ok=True)
            (place / f"{digest}.svn-base").write_bytes(evil)
            with sqlite3.connect(tree / ".svn" / "wc.db") as database:
                database.execute(
                    "insert into pristine select ?, compression, size, refcount, md5_checksum from pristine limit 1",
                    (f"$sha1${digest}",),
                )
                database.execute(
                    "update nodes set checksum = ?, translated_size = 6 where local_relpath = 'sub/inner'",
                    (f"$sha1${digest}",),
                )
            database.close()
            (tree / "sub" / "inner").write_bytes(evil)

        await self.spoilt(spoil, reused=False)

    async def test_pipes_and_hard_links_in_the_place_of_files_are_replaced(self) -> None:
        def spoil(tree: Path) -> None:
            (tree / "file").unlink()
            os.mkfifo(tree / "file")
            os.link(tree / "sub" / "inner", self.directory / "other name")

        await self.spoilt(spoil, reused=True)
        (self.directory / "other name").write_text("spoilt")
        self.assertEqual((await self.checked_out(self.second) / "sub" / "inner").read_text(), "inner\n")

    async def test_a_copy_of_which_a_build_dropped_a_part_is_whole_again(self) -> None:
        def spoil(tree: Path) -> None:
            subprocess.run(["svn", "update", "-q", "--set-depth=exclude", "sub"], cwd=tree, check=True)

        await self.spoilt(spoil, reused=False)

    async def test_a_part_that_a_build_switched_elsewhere_is_switched_back(self) -> None:
        self.origin.copy("trunk/sub", "branches/sub")
        self.origin.commit("branches/sub/inner")

        def spoil(tree: Path) -> None:
            subprocess.run(["svn", "switch", "-q", "^/branches/sub", "sub"], cwd=tree, check=True)

        await self.spoilt(spoil, reused=False)

    async def test_a_repository_nested_in_the_copy_is_removed(self) -> None:
        def spoil(tree: Path) -> None:
            url = f"{self.origin.root_url}/trunk@"
            subprocess.run(["svn", "checkout", "-q", url, "nested"], cwd=tree, check=True)

        await self.spoilt(spoil, reused=False)

    async def test_a_repository_that_was_made_anew_at_the_same_url_is_checked_out_afresh(self) -> None:
        await self.checked_out(self.first)
        self.origin.repository.rename(self.directory / "old")
        other = SvnOrigin(self.directory / "other")
        other.commit("trunk/file", "other\n")
        other.repository.rename(self.origin.repository)
        tree = await self.checked_out("r1")
        self.assertEqual((tree / "file").read_text(), "other\n")

    async def test_a_copy_is_kept_while_the_repository_is_away(self) -> None:
        tree = await self.checked_out(self.first)
        away = self.directory / "away"
        self.origin.repository.rename(away)
        with self.assertRaises(RepositoryUnreachable):
            await self.checked_out(self.second)
        away.rename(self.origin.repository)
        inode = tree.stat().st_ino
        await self.checked_out(self.second)
        self.assertEqual(((tree / "file").read_text(), tree.stat().st_ino), ("second\n", inode))

    async def test_externals_are_not_fetched(self) -> None:
        self.origin.commit("elsewhere/file")
        self.origin.svn("propset", "-q", "svn:externals", "^/elsewhere external", "trunk")
        third = self.origin.commit_all()
        tree = await self.checked_out(third)
        self.assertEqual(self.names(tree), ["file", "sub", "sub/inner"])
        await self.checked_out(self.first)
        await self.checked_out(third)
        self.assertEqual(self.names(tree), ["file", "sub", "sub/inner"])

    async def test_links_modes_and_names_of_the_repository_are_kept(self) -> None:
        self.origin.write("trunk/ä @2").chmod(0o755)
        link = self.origin.write("trunk/link")
        link.unlink()
        link.symlink_to("file")
        third = self.origin.commit_all()
        for _ in range(2):
            tree = await self.checked_out(third)
            self.assertEqual((tree / "link").readlink(), Path("file"))
            self.assertTrue((tree / "ä @2").stat().st_mode & stat.S_IXUSR)

    async def test_dates_that_svn_writes_into_files_are_the_same_on_every_machine(self) -> None:
        self.origin.write("trunk/dated", "$Date$\n")
        self.origin.svn("add", "-q", "--force", "trunk")
        self.origin.svn("propset", "-q", "svn:keywords", "Date", "trunk/dated")
        tree = await self.checked_out(self.origin.commit_all())
        self.assertIn("+0000", (tree / "dated").read_text())

    async def test_what_is_no_revision_there_is_an_unknown_ref_and_no_full_id_neither(self) -> None:
        for commit in ("r99", "HEAD", "1", "a" * 40):
            with self.assertRaises(UnknownRef):
                await self.checked_out(commit)

    async def test_a_directory_that_cannot_be_written_is_the_machines_fault(self) -> None:
        (self.directory / "copies").write_text("in the way")
        with self.assertRaises(MachineFault):
            await self.checked_out(self.first)


class ServedTests(SvnCase):
    """The same over svnserve."""

    def setUp(self) -> None:
        super().setUp()
        self.first = self.origin.commit("trunk/file", "first\n")
        self.origin.commit("elsewhere/file")
        self.second = self.origin.commit("trunk/file", "second\n")
        self.served = self.origin.serve()
        self.addCleanup(self.served.stop)

    async def test_revisions_ranges_and_working_copies_are_the_same_as_on_disk(self) -> None:
        url = self.served.url()
        self.assertEqual(await self.resolver.resolve(url, "HEAD"), self.second)
        self.assertEqual(await self.resolver.resolve(url, "2"), self.first)
        self.assertEqual(await self.resolver.acceptable(url, self.first, "1"), (self.first, self.second))
        for ref in ("99", "9999999999"):
            self.assertIsInstance(await self.refusal(ref, url), UnknownRef)
            self.assertIsInstance(await self.refusal(ref), UnknownRef)
        self.assertIsInstance(await self.refusal("HEAD", self.served.url("nothing")), UnknownRef)
        for commit, text in ((self.first, "first\n"), (self.second, "second\n")):
            tree = await self.sources.checkout(url, commit, 0)
            self.assertEqual((tree / "file").read_text(), text)

    async def test_a_server_that_wants_a_password_gets_that_of_the_url(self) -> None:
        self.origin.refuse_strangers()
        url = self.served.url(user="joe:pa%2Fss%20word@")
        self.assertEqual(await self.resolver.resolve(url, "HEAD"), self.second)
        tree = await self.sources.checkout(url, self.second, 0)
        self.assertEqual((tree / "file").read_text(), "second\n")
        kept = [path for path in self.directory.rglob("*") if path.is_file() and b"pa/ss" in path.read_bytes()]
        self.assertEqual(kept, [self.origin.repository / "conf" / "passwd"])

    async def test_a_wrong_password_and_none_are_unreachable_in_one_line(self) -> None:
        self.origin.refuse_strangers()
        for user in ("", "joe:wrong@", "nobody@"):
            error = await self.refusal("HEAD", self.served.url(user=user))
            self.assertIsInstance(error, RepositoryUnreachable)
            self.assertNotIn("wrong", str(error))

    async def test_a_copy_is_kept_while_the_server_is_away(self) -> None:
        url = self.served.url()
        tree = await self.sources.checkout(url, self.first, 0)
        inode = tree.stat().st_ino
        self.served.stop()
        with self.assertRaises(RepositoryUnreachable):
            await self.sources.checkout(url, self.second, 0)
        self.assertEqual(tree.stat().st_ino, inode)


class TrustsItself:
    """Trusts the commit that is called as its repository."""

    async def trusted(self, url: str, commit: str, refs: TrustedRefs) -> bool:
        return url == commit


class DispatchTests(SvnCase):
    """The URL's scheme decides who is asked."""

    async def test_subversions_schemes_go_to_subversion_and_all_others_to_git(self) -> None:
        class Git(TrustsItself):
            """Answers as git would."""

            async def resolve(self, url: str, ref: str) -> str:
                return f"git {url} {ref}"

            async def acceptable(
                self, url: str, commit: str, revrange: str, refs: TrustedRefs = EVERY_REF
            ) -> tuple[str, ...]:
                return (f"git {url} {commit} {revrange}",)

            async def pin(self, url: str, commit: str) -> None:
                pinned.append(url)

            async def older(
                self, url: str, ref: str, commit: str, among: Collection[tuple[str, str]]
            ) -> frozenset[tuple[str, str]]:
                return frozenset({(url, ref)})

            async def refs(self, url: str) -> tuple[str, ...]:
                return (url,)

            async def tips(self, url: str) -> dict[str, str]:
                return {url: url}

            async def line(self, url: str, commit: str, most: int) -> tuple[str, ...]:
                return (url, commit)[:most]

            async def about(self, url: str, commit: str) -> CommitNote | None:
                return CommitNote(url, "", 0.0)

            async def checkout(self, url: str, commit: str, slot: int, copy: SourceCopy | None = None) -> Path:
                return Path("/git", commit)

        pinned: list[str] = []
        change = self.origin.commit("trunk/file")
        resolvers, checkouts = Resolvers(Git(), self.resolver), Checkouts(Git(), self.sources)
        self.assertEqual(await resolvers.resolve(self.url, "HEAD"), change)
        self.assertEqual(await resolvers.acceptable(self.url, change, "1"), (change,))
        self.assertTrue(await resolvers.trusted(self.url, change, EVERY_REF))
        await resolvers.pin(self.url, change)
        self.assertTrue((await checkouts.checkout(self.url, change, 0) / "file").exists())
        plain = self.origin.root_url
        self.assertEqual(await resolvers.resolve(plain, "HEAD"), f"git {plain} HEAD")
        self.assertEqual(await resolvers.acceptable(plain, "a", "1"), (f"git {plain} a 1",))
        self.assertFalse(await resolvers.trusted(plain, "a", EVERY_REF))
        await resolvers.pin(plain, "a")
        self.assertEqual(pinned, [plain])
        self.assertEqual(await resolvers.about(plain, "a"), CommitNote(plain, "", 0.0))
        self.assertEqual(await checkouts.checkout(plain, "a", 0), Path("/git/a"))
