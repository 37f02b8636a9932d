"""Templates: all of them are compiled before anybody visits."""

from __future__ import annotations

from buildtool.web.live.hub import Answering
from buildtool.web.rendering import templates
from buildtool.web.urls import Urls


def test_no_visitor_waits_while_a_template_is_compiled() -> None:
    environment = templates(Urls("http://farm", "http://farm"), Answering())["builds"].environment
    assert environment.cache is not None
    assert {name for _, name in environment.cache} == set(environment.list_templates())
