"""Keys of an owner and of somebody else, a signed repository, and what follows it."""

from datetime import UTC
from pathlib import Path

import pytest

from buildtool.adapters.vcs.followed.bounded_git import BoundedGit
from buildtool.adapters.vcs.followed.repository import FollowedRepository
from buildtool.adapters.vcs.followed.signatures import CommitSignature, verify_commit
from buildtool.model.guest.signing_keys import SigningKey, read_signing_keys
from tests.support.signed_origin import SignedOrigin, make_key


class Followed:
    """A followed repository with all that an owner has, and somebody else's key."""

    def __init__(self, place: Path, keys: Path) -> None:
        self.owner, self.other = keys / "owner", keys / "other"
        self.origin = SignedOrigin(place / "origin")
        self.git = BoundedGit(place / "follow")
        (place / "follow").mkdir()
        self.repository = FollowedRepository(self.git, self.origin.url, "main")
        self.keys: tuple[SigningKey, ...] = read_signing_keys((keys / "owner.pub").read_text(), UTC)

    def verified(self) -> CommitSignature:
        """What is found of the newest commit."""
        return verify_commit(self.git, self.repository.path, self.repository.fetch(), self.keys)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("keys")
    for name in ("owner", "other"):
        make_key(place / name)
    return place


@pytest.fixture
def followed(tmp_path: Path, keys: Path) -> Followed:
    return Followed(tmp_path, keys)
