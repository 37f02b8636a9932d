"""An artifact that needs less than its machine announced is a hit for those who have less, waiting or new."""

from buildtool.model.records import RequestState
from buildtool.scheduling.answers import Hit
from tests.scheduling.farm import Farm
from tests.scheduling.worlds import machine, spec


def test_an_artifact_that_needs_an_older_library_than_was_announced_is_given_to_who_has_that() -> None:
    farm = Farm()
    farm.login("anna", machine(libc_version="2.36"))
    old = {"os": "linux", "libc_version": "2.28"}
    waits = farm.ask(spec(platform=old))
    farm.ask(spec(platform={"os": "linux", "libc_version": "2.36"}))
    assert farm.state(waits) is RequestState.WAITING
    artifact = farm.deliver("anna", need=(("libc_version", "2.17"),))
    assert (dict(artifact.platform)["libc_version"], artifact.need) == ("2.36", (("libc_version", "2.17"),))
    assert farm.state(waits) is RequestState.SATISFIED
    assert isinstance(farm.ask(spec(platform=old)), Hit)
    older = farm.ask(spec(platform={"os": "linux", "libc_version": "2.9"}))
    assert not isinstance(older, Hit)
