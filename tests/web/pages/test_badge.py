"""A badge is a picture that says what it shows, whatever a project is called."""

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.records import BuildState
from buildtool.web.pages.badge import badge_svg


@given(st.text(), st.none() | st.sampled_from(BuildState))
def test_a_badge_is_xml_with_its_words_as_a_label(project: str, state: BuildState | None) -> None:
    root = ET.fromstring(badge_svg(project, state))  # noqa: S314 - our own
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"].endswith(f": {state.value if state is not None else 'no build'}")
    assert float(root.attrib["width"]) < 500
