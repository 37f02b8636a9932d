"""A round makes a backup of a series, tries it, hands it on, notes that it is good, and thins out what is older."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pyrage
import pytest

from buildtool.adapters.maintenance.series.directory import BackupMark, BackupSeries, owner_of
from buildtool.adapters.maintenance.series.stamp import read_stamp
from buildtool.programs.metaserver.main import main
from buildtool.programs.metaserver.offline_commands import EXIT_DAMAGED, EXIT_NOT_HANDED_ON
from tests.adapters.maintenance import states
from tests.adapters.maintenance.states import soil, stored

DAY = 86_400.0
START = 1_795_857_460.0


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("original") / "state"
    made.mkdir()
    states.make(made)
    (made / "tls").mkdir()
    return made


@pytest.fixture
def farm(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a configuration, a state directory, and one for backups."""
    for name in ("BUILDTOOL_CONFIG", "BUILDTOOL_STATE_DIR", "BUILDTOOL_SETTINGS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "etc/secrets").mkdir(parents=True)
    (tmp_path / "etc/config.py").write_text('state_dir = "../state"\n')
    (tmp_path / "etc/secrets/mail").write_text("of the mail server")
    (tmp_path / "backups").mkdir()
    shutil.copytree(original, tmp_path / "state")
    return tmp_path


class Rounds:
    """Rounds of ``backup`` as its command does them, at moments that a test says."""

    def __init__(self, farm: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.farm, self.capsys, self.now = farm, capsys, START
        monkeypatch.setattr("buildtool.programs.metaserver.offline_commands.time.time", lambda: self.now)

    def __call__(self, *words: str, keep: str = "24h 30d 90d") -> tuple[int, dict[str, object], str]:
        config, target = str(self.farm / "etc/config.py"), str(self.farm / "backups")
        code = main(["backup", target, "--config", config, "--json", *(["--keep", keep] if keep else []), *words])
        told = self.capsys.readouterr()
        return code, json.loads(told.out) if told.out else {}, told.err

    @property
    def names(self) -> list[str]:
        """What there is, also what is hidden."""
        return sorted(path.name for path in (self.farm / "backups").iterdir())


@pytest.fixture
def rounds(farm: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Rounds:
    return Rounds(farm, capsys, monkeypatch)


def test_a_round_leaves_a_backup_with_its_time_and_notes_that_it_is_good(rounds: Rounds, farm: Path) -> None:
    code, told, complaints = rounds("--test-restore")
    assert (code, complaints) == (0, "")
    assert rounds.names == ["backup-20261128T091740Z"]
    assert (told["directory"], told["artifacts"], told["logs"]) == (str(farm / "backups" / rounds.names[0]), 1, 2)
    assert (told["wrong"], told["then"], told["removed"], told["stayed"]) == ([], None, [], [])
    assert read_stamp(farm / "state") == START
    assert json.loads((farm / "state/last-backup").read_text())["directory"] == told["directory"]


def test_old_ones_go_and_what_somebody_else_put_there_stays(rounds: Rounds, farm: Path) -> None:
    (farm / "backups/backup-20200101T000000Z").mkdir()
    (farm / "backups/notes").write_text("of the operator")
    for _ in range(5):
        code, told, _complaints = rounds(keep="1h 30h")
        assert code == 0
        rounds.now += DAY / 4
    assert told["removed"] == ["backup-20261129T031740Z"], "its day has a newer one"
    assert rounds.names == [
        "backup-20200101T000000Z", "backup-20261128T211740Z", "backup-20261129T091740Z", "notes",
    ]  # fmt: skip


def test_the_configuration_and_its_secrets_are_in_it_for_who_has_the_key(rounds: Rounds, farm: Path) -> None:
    mine = pyrage.x25519.Identity.generate()
    (farm / "state/tls/authority-1.pem").write_text("the farm's key")
    code, told, _ = rounds("--with-config", "--encrypt-to", str(mine.to_public()), "--test-restore")
    assert (code, told["sealed"]) == (0, 3)
    closed = (Path(str(told["directory"])) / "config.tar.age").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(pyrage.decrypt(closed, [mine]))) as archive:
        names = {f"/{name}" for name in archive.getnames()}
    assert names == {str(farm / name) for name in ("etc/config.py", "etc/secrets/mail", "state/tls/authority-1.pem")}
    assert b"of the mail server" not in b"".join(
        path.read_bytes() for path in Path(str(told["directory"])).rglob("*") if path.is_file()
    )


def test_what_is_damaged_is_told_with_its_code_is_not_good_and_nothing_goes_for_it(rounds: Rounds, farm: Path) -> None:
    rounds()
    soil(stored(farm / "state"))
    rounds.now += 400 * DAY
    code, told, complaints = rounds("--test-restore", "--then", "echo handed on >&2", keep="1h")
    assert code == EXIT_DAMAGED
    assert "does not restore: artifact-damaged" in complaints
    assert "handed on" not in complaints
    assert (len(rounds.names), told["removed"]) == (2, [])
    assert read_stamp(farm / "state") == START
    series = BackupSeries(farm / "backups", owner_of(farm / "state"))
    assert sorted(one.good for one in series.there()) == [False, True]


def test_the_operators_command_is_told_where_the_backup_is_and_its_failure_has_a_code(
    rounds: Rounds, farm: Path
) -> None:
    code, told, _ = rounds("--then", f'cp -r "$BACKUP" {farm}/other')
    assert (code, told["then"]) == (0, 0)
    assert (farm / "other/backup.json").exists()
    rounds.now += DAY
    code, told, complaints = rounds("--then", "exit 3")
    assert (code, told["then"]) == (EXIT_NOT_HANDED_ON, 3)
    assert "--then ended with code 3: the backup is in " in complaints
    rounds.now += DAY
    assert "--then was ended by signal 15: the backup is in " in rounds("--then", "kill $$")[2]
    assert read_stamp(farm / "state") == START, "one that is nowhere else is not noted"
    assert len(rounds.names) == 3


def test_two_farms_with_one_directory_leave_each_others_backups_alone(rounds: Rounds, farm: Path) -> None:
    rounds()
    (farm / "state/key").write_bytes(b"k" * 32)
    for _ in range(2):
        rounds.now += 300 * DAY
        code, told, _ = rounds(keep="1h")
        assert (code, told["others"]) == (0, 1)
    assert len(rounds.names) == 2
    assert "backup-20261128T091740Z" in rounds.names


def test_a_note_that_a_backup_is_damaged_which_cannot_be_written_is_told_too(
    rounds: Rounds, farm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(5, "Input/output error")

    soil(stored(farm / "state"))
    monkeypatch.setattr(BackupMark, "write", refuse)
    code, _, complaints = rounds("--test-restore")
    assert code == EXIT_DAMAGED
    assert "does not restore: artifact-damaged" in complaints
    assert "and that cannot be written into its backup.json: Input/output error; remove it" in complaints


def test_a_backup_that_a_metaserver_was_started_on_stays_and_is_told(rounds: Rounds, farm: Path) -> None:
    rounds()
    (farm / "backups" / rounds.names[0] / "incarnation.1").touch()
    rounds.now += 2 * DAY
    code, _told, complaints = rounds(keep="1h")
    assert code == 1
    assert "stays: there is incarnation.1 in it" in complaints
    assert len(rounds.names) == 2


def test_two_rounds_at_once_are_refused(rounds: Rounds, farm: Path) -> None:
    with BackupSeries(farm / "backups").mine():
        code, _, complaints = rounds()
    assert (code, rounds.names) == (1, [])
    assert "another backup is being made" in complaints


@pytest.mark.parametrize(
    ("words", "keep", "why"),
    [
        (("--with-config",), "24h", "--encrypt-to KEY"),
        (("--encrypt-to", "age1x"), "24h", "say --with-config too"),
        ((), "30d 24h", "does not grow"),
        (("--with-config", "--encrypt-to", "age1x"), "24h", "is no key"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_mend(
    rounds: Rounds, words: tuple[str, ...], keep: str, why: str
) -> None:
    code, _, complaints = rounds(*words, keep=keep)
    assert (code, rounds.names) == (2, [])
    assert why in complaints
    assert len(complaints.splitlines()) == 1


def test_a_backup_without_a_series_is_tried_and_noted_too(rounds: Rounds, farm: Path) -> None:
    code, told, _ = rounds("--test-restore", keep="")
    assert (code, told["directory"]) == (0, str(farm / "backups"))
    assert not (farm / "backups/backup.json").exists()
    assert read_stamp(farm / "state") == START


def test_a_series_inside_the_state_directory_is_refused(rounds: Rounds, farm: Path) -> None:
    (farm / "backups").rmdir()
    (farm / "state/inner").mkdir()
    (farm / "backups").symlink_to(farm / "state/inner")
    code, _, complaints = rounds()
    assert code == 2
    assert "inside the state directory" in complaints
