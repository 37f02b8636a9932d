"""A build is the same wherever its build server was started, and sees nothing of how."""

import json
import signal
import sys
from pathlib import Path

import pytest

from buildtool.demo.local_farm import LocalFarm, import_sources, local_farm
from tests.programs.common.surroundings import PLAIN_C, locale_at
from tests.support.packages import require

CONFIG = '''
from buildtool.project import Command, Plan, Project, ProjectOptions, Recipe, standard

_SCRIPT = """
set -e
process=$PPID
while [ "$process" -gt 1 ]; do
  if tr '\\\\0' '\\\\n' < /proc/$process/environ 2> /dev/null | grep -q hunter2; then exit 1; fi
  process=$(sed "s/.*) //" /proc/$process/stat | cut -d" " -f2)
done
[ "$(grep -cE 'Sig(Ign|Blk):.0{7}[01][08]0{7}$' /proc/self/status)" = 2 ]  # but for what the C library ignores (32, 33)
printf '%s %s' "$1" "$GREETING" > ü/größe.txt
cat < ü/quelle.txt >> ü/größe.txt
env | cut -d= -f1 | grep -v PWD | sort > ü/names
"""


def plan(wanted):
    return Plan(
        commands=[Command(["sh", "-c", _SCRIPT, "sh", "Grüße €"], name="größe")],
        environment={"GREETING": "grüß dich"},
        deliverables=["ü/größe.txt", "ü/names"],
    )


projects = [
    Project(
        name="demo",
        options=ProjectOptions(system=standard("os", "arch"), compile=()),
        recipe=Recipe(version=1, plan=plan),
        path_to_url=lambda source: _REPOSITORY,
    )
]
'''


@pytest.fixture
def farm(tmp_path: Path) -> LocalFarm:
    """A farm of its own, not started, whose project has other letters wherever there can be some."""
    require("git", "git")
    source = tmp_path / "source"
    (source / "ü").mkdir(parents=True)
    (source / "ü" / "quelle.txt").write_text("für\n", encoding="utf-8")
    import_sources(source, tmp_path / "repository.git")
    config = tmp_path / "config.py"
    config.write_text(f"_REPOSITORY = {str(tmp_path / 'repository.git')!r}\n{CONFIG}", encoding="utf-8")
    return LocalFarm(tmp_path / "farm", config)


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this system has no /proc")
def test_the_same_artifact_comes_from_any_locale_and_no_build_sees_its_build_servers_environment(
    farm: LocalFarm, tmp_path: Path
) -> None:
    latin = locale_at(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGQUIT, signal.SIGUSR1, signal.SIGHUP)}
    digests = []
    with local_farm(
        farm.directory,
        farm.config,
        **PLAIN_C,
    ) as running:
        running.start_metaserver()
        for name, locale in {
            "c": PLAIN_C,
            "utf8": {"LC_ALL": "C.UTF-8"},
            "latin": {**latin, "PYTHONUTF8": "0"},
        }.items():
            for number in before:
                signal.signal(number, signal.SIG_IGN)  # as a careless supervisor would leave it to its children
            try:
                server = running.start_build_server(name, "--name", name, "--no-cross", MY_SECRET="hunter2", **locale)
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
            done = running.request("--force", "--foreground", "--json", "--no-download", "ann@mail.example")
            assert done.returncode == 0, done.stdout + "\n".join(server.lines)
            told = json.loads(done.stdout.splitlines()[-1])
            assert told["artifact"]["server"] == name
            digests.append(told["artifact"]["digest"])
            server.stop()
    assert len(set(digests)) == 1
