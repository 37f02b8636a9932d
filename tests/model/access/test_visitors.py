"""Whoever comes from this machine is trusted as long as nothing says that the request came from elsewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.access.visitors import FORWARDED, is_of_this_machine

OWN = ("farm.example.org", "192.0.2.1")


def of_this_machine(address: str = "127.0.0.1", **headers: list[str]) -> bool:
    given = {name.lower().replace("_", "-"): values for name, values in headers.items()}
    return is_of_this_machine(address, lambda name: given.get(name.lower(), []), OWN)


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080", "FARM.example.org:8080", "192.0.2.1"])
def test_a_request_for_this_host_by_one_of_its_names_is_of_this_machine(host: str) -> None:
    for address in ("127.0.0.1", "::1"):
        assert of_this_machine(address, host=[host])
    assert not of_this_machine("192.0.2.7", host=[host])


def test_a_program_that_names_no_host_is_believed_and_one_that_names_two_is_not() -> None:
    assert of_this_machine()
    assert not of_this_machine(host=["localhost", "localhost"])


@pytest.mark.parametrize("name", FORWARDED)
def test_a_header_of_a_proxy_ends_the_trust(name: str) -> None:
    assert not is_of_this_machine("127.0.0.1", {"Host": ["localhost"], name: ["x"]}.get, OWN)  # type: ignore[arg-type]
    assert not is_of_this_machine("127.0.0.1", {name: ["for=127.0.0.1"]}.get, OWN)  # type: ignore[arg-type]


@given(st.text(max_size=40))
def test_a_host_that_is_not_this_one_s_ends_it_whatever_it_looks_like(host: str) -> None:
    bare = host.strip().lower().split("]")[0].lstrip("[").rsplit(":", 1)[0]
    if bare not in {"localhost", "127.0.0.1", "::1", "", *OWN} and host.strip().lower() not in {"::1", *OWN}:
        assert not of_this_machine(host=[host])


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "farm.example.org@x"])
def test_a_page_of_elsewhere_has_no_browser_here_ask_for_it(host: str) -> None:
    assert not of_this_machine(host=[host])
