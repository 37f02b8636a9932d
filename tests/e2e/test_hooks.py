"""Forges that deliver to real programs: what is signed starts a build, once; what is not is refused, and shown."""

import json
from http.client import HTTPConnection
from pathlib import Path

from tests.e2e.control import Control
from tests.e2e.test_operator import operate
from tests.e2e.test_triggers import triggers
from tests.support.hooks import body_of, created, from_gitea, from_github, from_gitlab, gitlab_push, push


def secret_file(path: Path, secret: str) -> Path:
    """Write the file of a secret, as it has to be."""
    path.touch(0o600)
    path.write_text(f"{secret}\n")
    return path


def deliver(port: int, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    """Deliver as a forge does; return status and text of the answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    status, text = answer.status, answer.read().decode()
    connection.close()
    assert text.endswith("\n")
    assert "\n" not in text.strip()
    return status, text.strip()


def test_what_forges_deliver_is_built_once_and_what_is_forged_is_refused_and_shown(control: Control) -> None:
    old, new = (secret_file(control.control(f"hook{at}"), f"a secret of {at} and more") for at in (1, 2))
    control.farm.extra |= {"E2E_TRIGGERS": "1", "E2E_HOOKS": f"{old}:{new}"}
    control.farm.start_mail()
    metaserver = control.farm.start_metaserver()
    apart = control.farm.start("webserver", [str(control.farm.root / "bin" / "webserver"), "--port=0"])
    port = int(apart.wait_for(r"pages on http://[^:]+:(\d+)/")[1])
    control.server("anna")
    assert triggers(control)["push main"]["next"] is None, "it never looks by itself"

    hook, body, secret = "/hook/greeter", body_of(push()), "a secret of 2 and more"
    signed = from_github(body, secret=secret)
    assert deliver(port, hook, body, from_github(body, "ping")) == (
        401,
        deliver(port, hook, body, from_github(body))[1],
    )
    ping = body_of({"zen": "Design for failure.", "hook_id": 1})
    assert deliver(port, hook, ping, from_github(ping, "ping", secret=secret))[0] == 200
    second = control.commit(**{"main.c": control.source("second")})
    assert deliver(port, hook, body, signed) == (202, "greeter looks at its repository: push of refs/heads/main")
    metaserver.wait_for(r"build 1.1 on anna: succeeded")
    assert triggers(control)["push main"]["said"] == f"asked for main at {second[:12]}: request 1"
    for again in (signed, signed | {"X-GitHub-Delivery": "another"}):
        assert deliver(port, hook, body, again) == (202, "this was delivered before, and nothing is new")

    control.git("tag", "v1")
    for event, told in (("create", created("v1", "tag")), ("push", push("refs/tags/v1"))):
        sent = body_of(told)
        assert deliver(port, "/change_hook/github", sent, from_github(sent, event, secret=secret))[0] == 202
    metaserver.wait_for(r"build 2.1 on anna: succeeded")
    assert triggers(control)["tag v*"]["said"].startswith(f"asked for v1 at {second[:12]}: requests 2 to 3")

    for status, sent, headers in (
        (401, body, {"Content-Type": "application/json", "X-GitHub-Event": "push"}),
        (401, body_of(gitlab_push()), from_gitlab(secret=secret)),
        (400, b"{", from_github(b"{", secret=secret)),
        (413, b"x" * 1_100_000, signed),
    ):
        assert deliver(port, hook, sent, headers)[0] == status
    assert deliver(port, "/hook/other", body, signed)[0] == 401
    (told,) = json.loads(operate(control, "triggers", "--json"))["hooks"]
    assert told["said"] == "GitHub: push of refs/tags/v1"
    refused = {one["reason"]: one["count"] for one in told["refused"]}
    assert refused == {"forged": 2, "malformed": 1, "oversized": 1, "plain": 1, "unsigned": 1}
    assert "refused since the start: 2 forged" in operate(control, "triggers")

    metaserver.kill()
    third = control.commit(**{"main.c": control.source("third")})
    metaserver = control.farm.start_metaserver()
    sent = body_of(push(after=third))
    assert deliver(port, hook, sent, from_gitea(sent, secret="a secret of 1 and more"))[0] == 202
    metaserver.wait_for(r"build 3.1 on anna: succeeded")
    said = triggers(control)["push main"]["said"]
    assert said == f"asked for main at {third[:12]}: request 4"

    old.chmod(0o644)
    metaserver.stop()
    done = control.farm.run("metaserver", "check-config")
    assert done.returncode == 2
    assert "hook_secrets" in done.stderr
    assert "chmod 600" in done.stderr
