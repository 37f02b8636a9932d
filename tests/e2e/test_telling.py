"""Commits get statuses at their forges, by the real programs: also where a forge was away and the metaserver killed."""

from collections.abc import Callable

from tests.e2e.control import Control
from tests.e2e.test_operator import operate
from tests.support.forges.forge import Forge, TokenHolder
from tests.support.forges.gitea import Gitea
from tests.support.forges.github import GitHub
from tests.support.forges.gitlab import GitLab
from tests.support.forges.serving import ServedForge

SECRETS = {"github": "ghp-0123456789", "gitlab": "glpat-0123456789", "gitea": "0123456789abcdef"}
SCOPES = {"github": "repo:status", "gitlab": "api", "gitea": "write:repository"}
KINDS: dict[str, Callable[[], Forge]] = {"github": GitHub, "gitlab": GitLab, "gitea": Gitea}


def served(control: Control) -> dict[str, ServedForge]:
    """Let the project tell a forge of each kind."""
    found = {}
    for name, made in KINDS.items():
        forge = made()
        forge.tokens[SECRETS[name]] = TokenHolder("farm", frozenset({SCOPES[name]}))
        forge.add("acme/greeter")
        found[name] = ServedForge(forge)
        token = control.control(f"{name}.token")
        token.write_text(SECRETS[name] + "\n")
        token.chmod(0o600)
    control.farm.extra["E2E_TRIGGERS"] = "1"
    control.farm.extra["E2E_TELL"] = " ".join(f"{name}={one.site}" for name, one in found.items())
    return found


def states(served: ServedForge, commit: str) -> list[str]:
    """Return which states a commit was given, one after the other."""
    return [one["state"] for one in served.forge.repositories["acme/greeter"].statuses if one["sha"] == commit]


def test_what_a_trigger_asks_for_is_told_at_each_forge_also_after_a_kill(control: Control) -> None:
    forges = served(control)
    metaserver = control.farm.start_metaserver()
    operate(control, "look", "greeter")
    commit = control.commit(**{"main.c": control.source("second")})
    for one in forges.values():
        one.forge.repositories["acme/greeter"].commits.add(commit)
    operate(control, "look", "greeter")
    for one in forges.values():
        one.until(lambda one=one: states(one, commit) == ["pending"])  # type: ignore[misc] # it is bound here
    metaserver.kill()
    metaserver = control.farm.start_metaserver()
    control.server("anna")
    metaserver.wait_for(r"build 1.1 on anna: succeeded")
    tried = operate(control, "tell-test", "greeter")
    assert tried.count("it answers, and takes what it is told") == 3, tried
    shown_targets = operate(control, "told")
    for name, one in forges.items():
        one.until(lambda one=one: states(one, commit)[-1:] == ["success"])  # type: ignore[misc] # it is bound here
        (shown,) = one.forge.repositories["acme/greeter"].newest(commit).items()
        assert shown[0].startswith("buildtool/"), name
        assert shown[1]["target_url"].endswith("/build/1")
        assert shown[1]["description"] == "built"
        one.close()
        assert f"greeter/{name}_status acme/greeter" in shown_targets
    said = "".join(line for program in control.farm.programs for line in program.lines)
    assert not [secret for secret in SECRETS.values() if secret in said]
