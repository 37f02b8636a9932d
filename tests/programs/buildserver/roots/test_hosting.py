"""A build server keeps the root file systems that it builds in, and offers none of them without a sandbox."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from buildtool.adapters.host.roots.store import alone, remove, roots_in
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.sandbox.sandboxes import Sandboxes
from buildtool.errors import ConfigurationError
from buildtool.programs.buildserver.roots.hosting import roots_held
from tests.adapters.host.roots.test_store import add
from tests.programs.buildserver.roots.test_offers import offered, told


@pytest.mark.world
def test_what_is_offered_is_kept_while_a_build_server_runs_and_nothing_of_it_is_offered_without_a_sandbox(
    tmp_path: Path,
) -> None:
    root = add(tmp_path)
    found, keepers = offered(tmp_path), Keepers(1)
    sandboxes = Sandboxes(keepers, "bwrap", tmp_path)
    keepers.close()
    with ExitStack() as closing, alone(tmp_path) as top:
        assert roots_held(found, sandboxes, closing) is found
        with pytest.raises(ConfigurationError, match="in use by a build server"):
            remove(top, root.name)
    with ExitStack() as closing, alone(tmp_path) as top:
        assert told(roots_held(found, None, closing)) == told(found)[:1]
        remove(top, root.name)
        with pytest.raises(ConfigurationError, match="was removed meanwhile"):
            roots_held(found, sandboxes, closing)


@pytest.mark.world
def test_what_was_made_anew_while_a_build_server_had_it_goes_when_that_ends_and_not_before(tmp_path: Path) -> None:
    root = add(tmp_path, marked="first")
    found, keepers = offered(tmp_path), Keepers(1)
    sandboxes = Sandboxes(keepers, "bwrap", tmp_path)
    keepers.close()
    with ExitStack() as closing:
        roots_held(found, sandboxes, closing)
        new = add(tmp_path, marked="second")
        assert (root.files / "mark").read_text() == "first", "builds go on in what they began in"
    assert [one.name for one in new.place.parent.iterdir()] == [new.place.name]
    assert (new.files / "mark").read_text() == "second"
    assert roots_in(tmp_path) == [new]
