"""Networks are known as long as a key is that was shown from them, and no key makes many of them known."""

from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.network.met_networks import OF_KEY, MetNetworks

KEYS = 3
names = st.sampled_from("abcde")
networks = st.integers(0, 12).map(str)


@given(st.lists(st.tuples(names, networks) | names))
def test_the_latest_networks_of_the_latest_keys_are_known_and_no_others(acts: list[tuple[str, str] | str]) -> None:
    met = MetNetworks(KEYS)
    expected: dict[str, list[str]] = {}
    for act in acts:
        if isinstance(act, str):
            met.forget(act)
            expected.pop(act, None)
            continue
        key, network = act
        met.add(key, network)
        others = [one for one in expected.pop(key, []) if one != network]
        expected[key] = [*others, network][-OF_KEY:]
        expected = dict(list(expected.items())[-KEYS:])
    known = {one for kept in expected.values() for one in kept}
    assert {str(one) for one in range(13) if str(one) in met} == known


def test_a_key_that_is_shown_from_everywhere_takes_no_place_of_others() -> None:
    met = MetNetworks()
    met.add("donor", "192.0.2.1")
    for one in range(20_000):
        met.add("restless", str(one))
    assert "192.0.2.1" in met
    assert sum(str(one) in met for one in range(20_000)) == OF_KEY
