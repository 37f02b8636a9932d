"""What is left over is found by the names that a build server gives, and nothing else is ever named or deleted."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from buildtool.adapters.host.leftovers import find_leftovers, remove_leftovers
from buildtool.model.guest.leftovers import UNUSED, KeptNow
from tests.support.lanes import examples

AT = 2_000_000_000.0
REPOSITORY = "https-example-org-lua-0123456789abcdef"
OTHERS = "mirrors sources svn trying spool slots follow identity history instance mine 7-1 slot-0 slot-1 slot-7 slot-07"
PARTS = st.sampled_from([*OTHERS.split(), REPOSITORY, f"{REPOSITORY}.git", "0123abcd", "0123ABCD"])
TREES = st.lists(
    st.tuples(st.lists(PARTS, min_size=1, max_size=4), st.sampled_from(["file", "directory", "link"])), max_size=12
)
PRECIOUS = (
    *(f"attic/{name}" for name in ("spool/7-1/end.json", "spool/7-1/artifact.zip", "instance", "history")),
    *("identity/key.pem", "buildserver.toml", "guest.toml", "info/admin", f"attic/mirrors/mine/{REPOSITORY}.git/HEAD"),
)


def lay(build: Path, names: list[str], kind: str) -> None:
    path = build.joinpath(*(["trying", *names[1:]] if names[0] == "trying" else ["attic", *names]))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "directory":
            path.mkdir(exist_ok=True)
            (path / "content").write_text("x")
        elif not os.path.lexists(path):
            path.symlink_to(build.parent / "elsewhere") if kind == "link" else path.write_text("x")
    except OSError:
        return  # something else is there already


def files(top: Path) -> dict[Path, str]:
    found: dict[Path, str] = {}
    for directory, _, names in os.walk(top):
        found |= {
            Path(directory, name): Path(directory, name).read_text()
            for name in names
            if not Path(directory, name).is_symlink()
        }
    return found


def age(top: Path, seconds: float) -> None:
    for directory, directories, names in os.walk(top, topdown=False):
        for name in (*directories, *names, "."):
            os.utime(Path(directory, name), (AT - seconds, AT - seconds), follow_symlinks=False)


@settings(max_examples=examples(12))
@given(TREES, st.integers(1, 8), st.booleans(), st.sampled_from([10.0, UNUSED + 10]))
def test_what_was_named_goes_and_nothing_else_changes(
    tree: list[tuple[list[str], str]], slots: int, follows: bool, unused: float
) -> None:
    with TemporaryDirectory() as holder:
        top = Path(holder)
        build = top / "build"
        (top / "elsewhere" / REPOSITORY / "slot-9").mkdir(parents=True)
        (top / "elsewhere" / REPOSITORY / "slot-9" / "mine").write_text("mine")
        for name in PRECIOUS:
            (build / name).parent.mkdir(parents=True, exist_ok=True)
            (build / name).write_text(name)
        for names, kind in tree:
            lay(build, names, kind)
        age(top, unused)
        before, now = files(top), KeptNow(slots, follows)
        found = find_leftovers(build / "attic", now, AT)
        assert files(top) == before
        remove_leftovers(found)
        after = files(top)
        gone = {path for path in before if any(path.is_relative_to(one.path) for one in found)}
        assert after == {path: text for path, text in before.items() if path not in gone}
        assert not [one for one in found if os.path.lexists(one.path)]
        assert {build / name for name in PRECIOUS} <= after.keys()
        assert find_leftovers(build / "attic", now, AT) == ()
        for one in found:
            said = one.words()
            assert one.path in said
            assert "unused for" in said


def test_what_fewer_builds_a_stopped_following_and_a_broken_trial_leave_is_named_with_size_and_age(
    tmp_path: Path,
) -> None:
    attic = tmp_path / "attic"
    for name in (f"sources/{REPOSITORY}/slot-0", f"sources/{REPOSITORY}/slot-1", f"sources/svn/{REPOSITORY}/slot-1",
                 f"mirrors/{REPOSITORY}.git", "follow", "../trying/0123abcd"):  # fmt: skip
        (attic / name).mkdir(parents=True)
        (attic / name / "file").write_bytes(bytes(2048))
    age(tmp_path, 2 * 86400)
    found = find_leftovers(attic, KeptNow(1, follows=False), AT)
    assert {(str(Path(one.path).relative_to(tmp_path)), one.why) for one in found} == {
        (f"attic/sources/{REPOSITORY}/slot-1", "--max-builds is 1"),
        (f"attic/sources/svn/{REPOSITORY}/slot-1", "--max-builds is 1"),
        ("attic/follow", "no configuration is followed"),
        ("trying/0123abcd", "a trial that was broken off"),
    }
    assert {(one.size, one.unused) for one in found} == {(2048, 2 * 86400.0)}
    assert all("2.0 KiB, unused for 2 d" in one.words() for one in found), found[0].words()


def test_a_mirror_is_in_use_as_long_as_what_was_made_from_it(tmp_path: Path) -> None:
    for name in (f"sources/{REPOSITORY}/slot-0", f"mirrors/{REPOSITORY}.git"):
        (tmp_path / "attic" / name).mkdir(parents=True)
        (tmp_path / "attic" / name / "HEAD").touch()
    (tmp_path / "attic" / "follow").mkdir()  # which is empty
    age(tmp_path, UNUSED + 10)
    now = KeptNow(1, follows=False)
    assert len(find_leftovers(tmp_path / "attic", now, AT)) == 2
    age(tmp_path / "attic" / "sources", 10)
    assert find_leftovers(tmp_path / "attic", now, AT) == ()
