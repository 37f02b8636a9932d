"""Commands in a sandbox: what they see, what they may do, and that nothing of them is left. As root and as a user."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildtool.adapters.processes.procfs import descendants, environment_of
from buildtool.adapters.processes.sandbox import escapes
from tests.adapters.processes.sandbox.sandboxed import Boxed, boxed, bubblewrap

pytestmark = pytest.mark.world

AS_USER = "BUILDTOOL_TESTS_AS_USER"
IOCTL = {"x86_64": 16, "aarch64": 29}


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Boxed]:
    with boxed(tmp_path) as made:
        yield made


def test_a_command_runs_in_its_tree_and_says_how_it_ended(box: Boxed) -> None:
    assert box.run("pwd").output == f"{box.slot.tree}\n"
    assert (box.run("true").code, box.run("false").code) == (0, 1)
    assert box.shell("kill -TERM $$").code == -15


def test_what_a_command_writes_in_its_tree_is_there_for_the_next_and_for_whoever_packs_it(box: Boxed) -> None:
    assert box.shell("echo made > it; umask").output == "0022\n"
    assert box.run("cat", "it").output == "made\n"
    assert (box.slot.tree / "it").read_text() == "made\n"


def test_a_program_or_directory_that_is_not_there_is_told_as_outside(box: Boxed) -> None:
    with pytest.raises(FileNotFoundError):
        box.run("no-such-program")
    with pytest.raises(FileNotFoundError):
        box.run("true", cwd=box.slot.tree / "nowhere")
    (box.slot.tree / "text").write_text("no program")
    with pytest.raises(PermissionError):
        box.run("./text")


def test_nothing_of_the_machine_is_seen_but_the_system_and_the_slot(box: Boxed, tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("secret")
    for path in (
        secret,
        tmp_path / "made",
        "/home",
        "/root",
        "/run",
        "/sys",
        "/var/log",
        "/etc/shadow",
        "/etc/ssl/private",
    ):
        assert box.run("ls", "-d", str(path)).code, path
    assert box.shell("ls /").output.split() == sorted(box.shell("ls /").output.split())
    assert "nobody" in box.run("cat", "/etc/passwd").output
    assert box.run("hostname").output == "build\n"


def test_only_the_tree_the_home_and_tmp_can_be_written_in(box: Boxed) -> None:
    for directory in ("/", "/usr/bin", "/etc", "/dev", "/proc/sys/kernel"):
        assert box.shell(f"echo > {directory}/mine").code, directory
    for place in (box.slot.tree, box.slot.place.home, box.slot.place.temporary, "/tmp", "/var/tmp", "/dev/shm"):
        assert box.shell(f"echo > {place}/mine").code == 0, place
    box.shell(f"mkdir -p {box.slot.top}; echo > {box.slot.top}/mine")
    assert not (box.slot.top / "mine").exists(), "what lies there is the build's own /tmp"
    assert (box.slot.place.temporary / "mine").exists(), "what is written in /tmp counts to the slot's own disk"


def test_a_command_holds_three_descriptors_no_right_and_no_way_to_one(box: Boxed) -> None:
    held = box.shell("for n in $(seq 0 300); do [ -e /proc/$$/fd/$n ] && echo $n; done").output.split()
    assert set(held) - {"0", "1", "2"} <= {"10"}, "dash keeps its own as 10"
    status = dict(
        line.split(":\t", 1) for line in box.run("cat", "/proc/self/status").output.splitlines() if ":\t" in line
    )
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert box.run("id", "-un").output == "build\n"
    assert box.run("unshare", "-U", "true").code


TYPES = """
import ctypes, errno, os, sys
kernel = ctypes.CDLL(None, use_errno=True)
for upper in (0, 1 << 32, 0xFFFFFFFF << 32):
    for request in (0x5412, 0x541C):
        done = kernel.syscall(ctypes.c_long({number}), ctypes.c_long(0), ctypes.c_ulong(upper | request), b"x")
        print(done, errno.errorcode[ctypes.get_errno()])
"""


@pytest.mark.skipif(platform.machine() not in IOCTL, reason="the number of ioctl is not known for this processor")
def test_nobody_types_into_a_terminal_whatever_stands_in_the_upper_half_of_what_is_asked(box: Boxed) -> None:
    said = box.run("/usr/bin/python3", "-c", TYPES.format(number=IOCTL[platform.machine()]), terminal=True)
    assert said.output.split() == ["-1", "EPERM"] * 6


def test_a_command_with_a_terminal_has_one_of_the_sandbox_s_own_and_is_as_contained(box: Boxed) -> None:
    assert not box.shell("tty; test -t 0 || test -t 1 || test -t 2").output.startswith("/dev/")
    said = box.shell("tty; stty size; test -t 0 && test -t 1 && test -t 2 && cat && echo all > /dev/tty", terminal=True)
    assert (said.output, said.code) == ("/dev/pts/0\n24 80\nall\n", 0)
    # Without a pipeline, of which the shell may hold an end for a moment.
    listing = "exec 9>&1; for n in $(seq 0 300); do readlink /proc/$$/fd/$n; done"
    held = box.shell(listing, terminal=True).output.split()
    assert set(held) == {"/dev/pts/0"}
    shutil.copyfile(escapes.__file__, box.slot.tree / "escapes.py")
    hidden = [str(box.slot.top.parent / "made"), "/home", "/root"]
    program = f"import escapes, sys; print(escapes.attempts({hidden}, sys.argv[1:], 77))"
    own = [str(one) for one in (box.slot.tree, box.slot.place.home, box.slot.place.temporary)]
    tried = box.run("/usr/bin/python3", "-c", program, *own, terminal=True)
    assert tried.output == "{}\n"


def test_a_terminal_goes_with_its_command_and_what_that_left_is_ended(box: Boxed) -> None:
    ran = box.shell(
        "(trap '' HUP; : > deaf; exec sleep 600) & until [ -e deaf ]; do sleep 0.05; done; echo begun", terminal=True
    )
    assert (ran.output, ran.left) == ("begun\n", True)
    assert box.shell("tty; ls /dev/pts", terminal=True).output.split() == ["/dev/pts/0", "0", "ptmx"]


def test_a_program_that_is_covered_is_not_found_by_name_nor_at_its_place(tmp_path: Path) -> None:
    own = tmp_path / "own" / "tool"
    own.parent.mkdir()
    own.write_text("#!/bin/sh\necho own\n")
    own.chmod(0o755)
    for path in (tmp_path, *tmp_path.parents[:-2]):
        path.chmod(path.stat().st_mode | 0o055)
    absent = tmp_path / "no-such-tool"
    with boxed(tmp_path, (own.parent,), (Path("/usr/bin/od"), own, absent)) as box:
        assert box.shell("command -v od").code
        for name in ("od", "/usr/bin/od", str(own)):
            assert box.shell(f"{name} /dev/null").code in (126, 127), name
        assert box.shell("test -f /usr/bin/od || test -x /usr/bin/od || test -s /usr/bin/od").code
        assert box.shell("printf x | wc -c").output.strip() == "1"
    with boxed(tmp_path, (own.parent,)) as box:
        assert box.shell(f"command -v od && {own}").output.split() == ["/usr/bin/od", "own"]


def test_a_umask_is_for_its_command_alone(box: Boxed) -> None:
    assert box.shell("umask; echo > private", umask=0o077).output == "0077\n"
    assert box.shell("umask; echo > open").output == "0022\n"
    modes = {name: (box.slot.tree / name).stat().st_mode & 0o777 for name in ("private", "open")}
    assert modes == {"private": 0o600, "open": 0o644}


def test_a_command_says_something_by_any_of_its_ways_to_its_output(box: Boxed) -> None:
    said = box.shell("echo 1; echo 2 >&2; echo 3 > /dev/stdout; echo 4 > /dev/stderr; echo 5 > /proc/self/fd/1").output
    assert said.split() == ["1", "2", "3", "4", "5"]


def test_a_command_holds_nothing_of_outside(box: Boxed) -> None:
    mount = box.shell("sed -n 's/mnt_id:\t*//p' /proc/$$/fdinfo/0").output.strip()
    assert mount in box.shell("cut -d ' ' -f 1 /proc/self/mountinfo").output.split()


def test_what_covers_the_first_process_is_no_place_to_fill_memory_from(box: Boxed) -> None:
    assert box.shell("chmod 700 /proc/1; echo > /proc/1/mine").code


def test_an_account_that_may_go_before_others_does_not_let_builds_do_so(box: Boxed) -> None:
    shown = box.run("cat", "/proc/self/limits").output.splitlines()
    assert [line.split()[3:] for line in shown if "priority" in line] == [["0", "0"]] * 2


def test_what_a_command_leaves_is_known_and_can_be_ended_while_the_sandbox_goes_on(box: Boxed) -> None:
    assert box.shell("setsid sleep 600 & (setsid sleep 600 &) ; echo begun").left
    assert not box.run("true").left
    assert "sleep" not in box.run("ps", "-e").output


def test_what_a_command_used_of_processors_is_told_with_what_it_has_parted_from(box: Boxed) -> None:
    burning = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"
    box.run("true")  # with which it is counted what made the sandbox
    idle, busy = box.run("true").processor, box.shell(burning).processor
    orphaned = box.shell(f"sh -c '({burning}; : > over) &'; until [ -e over ]; do sleep 0.05; done").processor
    assert idle is not None
    assert busy is not None
    assert orphaned is not None
    assert idle + 0.05 < busy
    assert orphaned > busy / 2


def test_a_sandbox_that_ends_takes_everything_with_it(tmp_path: Path) -> None:
    with boxed(tmp_path) as box:
        assert box.shell("echo begun").output == "begun\n"
        running = mine()
    assert running
    assert not mine() & running


def mine() -> set[int]:
    """Return the processes below this one that keep sandboxes, which have no environment, as far as we may see it."""
    below = {seen.pid for seen in descendants(os.getpid())}
    return {pid for pid in below if b"--info-fd" in cmdline(pid) and environment_of(pid) == (b"",)}


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_who_kills_all_it_can_ends_its_own_sandbox_at_most_and_that_is_known(box: Boxed) -> None:
    ran = box.shell("kill -9 2; kill -9 -1; sleep 0.1")
    # Run by root, builds have another account than what keeps the sandbox, so that they cannot reach that.
    assert (ran.lost, ran.code) == ((True, -9) if os.geteuid() else (False, ran.code))
    assert ran.code in (-9, 0, 1)


def test_the_first_process_cannot_be_looked_into(box: Boxed) -> None:
    for name in ("environ", "mem", "fd", "root"):
        assert box.run("ls", f"/proc/1/{name}/").code


def test_a_pack_that_the_mirror_has_under_another_name_cannot_be_written(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror.pack"
    mirror.write_bytes(b"packed")
    mirror.chmod(0o444)
    pack = tmp_path / "slot" / "tree" / ".git" / "objects" / "pack"
    pack.mkdir(parents=True)
    (pack / "a.pack").hardlink_to(mirror)
    with boxed(tmp_path) as box:
        for words in ("chmod u+w {0}", "echo > {0}", "rm {0}", "mv {1} {1}2", "chown $(id -u) {0}"):
            assert box.shell(words.format(".git/objects/pack/a.pack", ".git/objects/pack")).code, words
        assert box.run("cat", ".git/objects/pack/a.pack").output == "packed"
    assert mirror.read_bytes() == b"packed"
    assert mirror.stat().st_uid == os.geteuid()


def test_a_build_leaves_its_account_watches_over_files(box: Boxed) -> None:
    script = "import ctypes; libc = ctypes.CDLL(None)\nprint(sum(libc.inotify_init() >= 0 for _ in range(5000)))"
    most = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    had = int(box.run("/usr/bin/python3", "-c", script).output)
    # Run by root, builds have another account than what keeps the sandbox, and cannot take anything from that.
    assert had <= (most if os.geteuid() == 0 else most // 4)


def test_sources_that_look_like_a_pack_do_not_lead_out_of_the_sandbox(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    tree = tmp_path / "slot" / "tree"
    for name in (".git", "objects", ".git/objects", "deep/.git/objects"):
        (tree / name).mkdir(parents=True)
    (tree / ".gitmodules").touch()
    (tree / "objects" / "pack").symlink_to("../../..")
    (tree / "deep" / ".git" / "objects" / "pack").symlink_to("../../../../../..")
    with boxed(tmp_path) as box:
        assert "secret" not in box.shell(f"cat {tmp_path}/key objects/pack/key deep/.git/objects/pack/key").output
        assert box.shell("echo > objects/mine").code == 0


@pytest.mark.skipif(AS_USER in os.environ or os.geteuid() != 0, reason="this is the run as a user")
def test_all_of_this_holds_for_another_user_than_root(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        [bubblewrap(), "--unshare-user", "--uid", "1234", "--gid", "1234", "--dev-bind", "/", "/", *words],
        env={**os.environ, AS_USER: "1", "PYTEST_ADDOPTS": f"--basetemp={tmp_path / 'user'}"},
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[4],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout


def test_what_holds_the_sandbox_open_cannot_be_looked_into_either(box: Boxed) -> None:
    for words in ("exec 3< /proc/2/mem", "exec 3<> /proc/2/mem", "cat /proc/2/environ", "cat /etc/cat"):
        # Without a holder of the build's own account there is no such copy.
        assert box.shell(words).code, words


def test_a_build_directory_may_lie_wherever_its_owner_wants_it() -> None:
    for above in ("/var/tmp", "/srv", "/opt", "/usr/local"):
        if not os.access(above, os.W_OK):
            continue
        with tempfile.TemporaryDirectory(dir=above) as top, boxed(Path(top)) as box:
            Path(top).chmod(0o755)
            assert box.shell("echo made > it; cat it").output == "made\n", above
            assert (box.slot.tree / "it").exists()
