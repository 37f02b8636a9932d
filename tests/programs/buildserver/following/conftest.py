"""A donor in their own process: a signed repository with configurations, their keys, and a directory."""

import argparse
from pathlib import Path

import pytest

from buildtool.configuration.given.names import ENVIRONMENT
from buildtool.configuration.settings import Settings, load_settings
from buildtool.programs.buildserver.following.choice import BY_ITSELF, choice_of
from buildtool.programs.buildserver.following.starting import Following
from tests.support.signed_origin import SignedOrigin, make_key

PROJECT = """
from buildtool.project import Command, Plan, Project, ProjectOptions, Recipe, standard
{before}
projects = [Project(
    name="{name}",
    options=ProjectOptions(standard("os", "arch"), ()),
    recipe=Recipe(version={version}, plan=lambda wanted: Plan([Command(["make"])], deliverables=["x"])),
    path_to_url=lambda source: "/srv/x.git",
)]
"""


def config(version: int, before: str = "", name: str = "one") -> str:
    """A configuration with one project; ``before`` is what it does first."""
    return PROJECT.format(version=version, before=before, name=name)


class Donor:
    """A donor, their repository, and what they said."""

    def __init__(self, place: Path, keys: Path) -> None:
        self.owner, self.other = keys / "owner", keys / "other"
        self.public = place / "owner.pub"
        self.public.write_bytes((keys / "owner.pub").read_bytes())
        self.public.chmod(0o600)
        self.origin = SignedOrigin(place / "recipes")
        self.own = place / "config.py"
        self.own.write_text(config(1, name="mine") + f"build_dir = {str(place / 'builds')!r}\n")
        self.place = place / "builds" / "attic" / "follow"
        self.place.mkdir(parents=True)
        self.options = ["--follow-config", f"{self.origin.url}#main", "--signed-by", str(self.public)]

    def settings(self) -> Settings:
        return load_settings(self.own, secrets=False)

    def following(self, **changed: object) -> Following:
        said = {
            "follow_config": f"{self.origin.url}#main",
            "signed_by": (self.public,),
            "apply_config": BY_ITSELF,
            "follow_every": 15,
            **changed,
        }
        choice = choice_of(argparse.Namespace(**said))
        assert choice is not None
        return Following(choice, self.place)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("keys")
    for name in ("owner", "other"):
        make_key(place / name)
    return place


@pytest.fixture
def donor(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> Donor:
    for name in ("BUILDTOOL_CONFIG", *ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)
    return Donor(tmp_path, keys)
