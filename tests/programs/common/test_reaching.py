"""How a metaserver is reached: which key and whose authorities count where."""

import time
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.base import ReactorBase
from twisted.internet.testing import MemoryReactorClock

from buildtool.adapters.tls.certificates import certificate_text, client_certificate, new_authority
from buildtool.adapters.tls.contexts import ClientTls
from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.model.access.metaserver_addresses import MetaserverAddress, read_addresses
from buildtool.programs.common.joining import FarmEndpoint
from buildtool.programs.common.reaching import joined_addresses, reach
from buildtool.protocol.enrolment import Credentials


@pytest.fixture
def farm(tmp_path: Path) -> FarmEndpoint:
    """Return the key of a machine that joined at 192.0.2.1."""
    store, authority = CredentialStore(tmp_path / "identity"), new_authority("farm", time.time())
    made = client_certificate(authority, store.key().public_key(), "attic", time.time())
    text, root = (certificate_text([one]).decode() for one in (made, authority.certificate))
    own = store.keep(Credentials("attic", "build server", text, 0.0, (root,)), [("192.0.2.1", 443)])
    return FarmEndpoint(reactor(), store, own)


def reactor() -> ReactorBase:
    made: Any = MemoryReactorClock()
    return cast(ReactorBase, made)


def test_a_farm_is_believed_at_its_transfer_port_wherever_it_was_joined_or_is_reached(farm: FarmEndpoint) -> None:
    """An operator may give the farm another name than the one in an invitation; other sites stay other sites."""
    there = reach(reactor(), [*joined_addresses(farm.own), MetaserverAddress("farm.example.org", 443)], farm)
    for host in ("192.0.2.1", "farm.example.org"):
        assert isinstance(there.transfers(host, 443), ClientTls)
    assert there.transfers("elsewhere.example.org", 443) is None
    assert there.where == "192.0.2.1:443 or farm.example.org:443"


@pytest.mark.parametrize(
    "said", ["tcp:farm.example.org:1", "tls:farm.example.org:1:trustRoots={0}:certificate={0}/c:privateKey={0}/k"]
)
def test_a_key_is_not_shown_where_the_string_says_something_else(farm: FarmEndpoint, said: str, tmp_path: Path) -> None:
    roots = tmp_path / "roots"
    roots.mkdir()
    (roots / "a.pem").write_bytes(certificate_text([new_authority("other", time.time()).certificate]))
    (roots / "c").write_bytes(certificate_text([farm.own.identified.certificate]))
    (roots / "k").write_bytes(farm.store.key_file.read_bytes())
    there = reach(reactor(), read_addresses(said.format(roots), "--host"), farm)
    assert not isinstance(there.transfers("farm.example.org", 1), ClientTls)
    assert (there.transfers("farm.example.org", 1) is None) is said.startswith("tcp:")


def test_a_stranger_reaches_a_plain_host_in_plain() -> None:
    there = reach(reactor(), [MetaserverAddress("farm.example.org", 1)], None)
    assert there.transfers("farm.example.org", 1) is None
