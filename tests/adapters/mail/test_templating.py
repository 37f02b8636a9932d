"""Templates of mails: a deployment's take the place of the farm's own, and one that fails costs nobody a mail."""

from pathlib import Path

import pytest

from buildtool.adapters.mail.templating import BUILT_IN, MailTemplates
from buildtool.adapters.mail.text import USUAL_STYLE, MailStyle, render_test
from buildtool.errors import ConfigurationError


def written(directory: Path, *, strict: bool = False) -> tuple[str, str]:
    letter = render_test("a@example.org", "mail.test:25", 0.0, MailStyle(MailTemplates(directory), strict=strict))
    return letter.text, letter.html


def test_a_deployment_s_template_takes_the_place_of_ours_and_may_extend_it(tmp_path: Path) -> None:
    usual = render_test("a@example.org", "mail.test:25", 0.0)
    (tmp_path / "_greeting.txt").write_text("Hello {{ address }}!\n")
    (tmp_path / "test.txt").write_text('{% include "_greeting.txt" %}{% include "buildtool/test.txt" %}')
    text, html = written(tmp_path, strict=True)
    assert text == f"Hello a@example.org!\n{usual.text}"
    assert html == usual.html
    assert MailTemplates(tmp_path).own() == ["_greeting.txt", "test.txt"]


def test_what_strangers_wrote_is_text_in_a_deployment_s_html_too(tmp_path: Path) -> None:
    (tmp_path / "test.html").write_text("<p>{{ server }}</p>")
    style = MailStyle(MailTemplates(tmp_path))
    assert render_test("a@example.org", "<b>mail</b>", 0.0, style).html == "<p>&lt;b&gt;mail&lt;/b&gt;</p>"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ adress }}", "test.txt:1: 'adress' is undefined"),
        ("\n{% if %}", "test.txt:2: Expected an expression"),
        ("\n\n{{ 1 // 0 }}", "test.txt:3: integer division or modulo by zero"),
        ('{% extends "bse.txt" %}', "there is no template bse.txt"),
        ("{{ look.nothing.more }}", "has no attribute 'nothing'"),
        ("{{ address.count(7) }}", "test.txt:1: must be str, not int"),
        ('{% include "test.txt" %}', "test.txt:1: maximum recursion depth exceeded"),
        ("{% macro a() %}{{ a() }}{% endmacro %}\n{{ a() }}", "test.txt:1: maximum recursion depth exceeded"),
        (f"{{{{ {'(' * 3_000}1{')' * 3_000} }}}}", "maximum recursion depth exceeded"),
        ("{{ range(10 ** 9) | list | length }}", "test.txt:1: Range too big"),
        ("{{ 'x' * 2_000_000 }}", "test.txt writes more than 1048576 characters"),
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
            "test.txt writes more than",
        ),
    ],
)
def test_one_that_fails_is_said_where_and_the_mail_goes_out_in_our_words(
    tmp_path: Path, template: str, said: str
) -> None:
    (tmp_path / "test.txt").write_text(template)
    with pytest.raises(ConfigurationError) as caught:
        written(tmp_path, strict=True)
    assert said in str(caught.value)
    assert str(caught.value).startswith("mail: templates: ")
    assert str(caught.value).isprintable()
    usual = render_test("a@example.org", "mail.test:25", 0.0, USUAL_STYLE)
    assert written(tmp_path) == (usual.text, usual.html)


def test_a_template_that_no_mail_is_made_of_is_refused_with_what_was_meant(tmp_path: Path) -> None:
    (tmp_path / "faild.txt").write_text("")
    with pytest.raises(ConfigurationError, match=r"no mail is made of .*/faild\.txt: did you mean failed\.txt\?"):
        MailTemplates(tmp_path).own()
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        MailTemplates(tmp_path / "gone").own()
    assert BUILT_IN.own() == []
