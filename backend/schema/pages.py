"""The document for people: as Markdown for docs/, as one HTML page without scripts for the API itself."""

import html
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

WHO = {
    "anyone": "anyone",
    "user": "a user",
    "admin": "an admin",
    "user or organization": "a user, or an organization by Basic",
    "own backend": "this organization's own components, by Basic",
    "refresh cookie": "whoever has the `refresh` cookie",
}
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "summary{cursor:pointer}code,pre{font:14px/1.4 ui-monospace,monospace}"
    "pre{background:#f4f4f4;padding:.7em;overflow-x:auto}b{display:inline-block;width:4.5em}"
)


@dataclass(frozen=True)
class Entry:
    """One operation, ready to be printed."""

    tag: str
    method: str
    path: str
    summary: str
    who: str
    parameters: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[tuple[str, str]] = field(default_factory=list)
    status: str = ""
    answer: str = ""
    call: str = ""


def entries(document: dict[str, Any]) -> Iterator[Entry]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            status, success = next(iter(operation["responses"].items()))
            bodies = operation.get("requestBody", {}).get("content", {})
            yield Entry(
                tag=(operation["tags"] or ["service"])[0],
                method=method.upper(),
                path=path,
                summary=operation["summary"],
                who=WHO[operation["x-who"]],
                parameters=[
                    (parameter["name"], _kind(parameter))
                    for parameter in operation.get("parameters", [])
                    if parameter["in"] == "query"
                ],
                bodies=[(kind, _pretty(content["example"])) for kind, content in bodies.items()],
                status=status,
                answer=_answer(success),
                call=_call(method.upper(), path, operation),
            )


def _kind(parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    if schema["type"] == "array":
        return f"comma list: {_plain(schema['items'])}"
    return _plain(schema)


def _plain(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(schema["enum"])
    return str(schema.get("description") or schema.get("format") or schema["type"])


def _answer(success: dict[str, Any]) -> str:
    for kind, content in success.get("content", {}).items():
        return _pretty(content["example"]) if "example" in content else f"({kind})"
    return ""


def _pretty(value: Any) -> str:
    """JSON with short lines: what fits in one line stays in one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) <= 88 or not isinstance(value, dict | list) or not value:
        return flat
    if isinstance(value, list):
        inner = ",\n".join(_pretty(item) for item in value)
        return "[\n" + _indented(inner) + "\n]"
    inner = ",\n".join(f"{json.dumps(name)}: {_pretty(item)}" for name, item in value.items())
    return "{\n" + _indented(inner) + "\n}"


def _indented(lines: str) -> str:
    return "\n".join("  " + line for line in lines.splitlines())


def _call(method: str, path: str, operation: dict[str, Any]) -> str:
    """A curl command."""
    words = ["curl"]
    if method != "GET":
        words.append(f"-X {method}")
    if {"token": []} in operation["security"]:
        words.append('-H "Authorization: Token $TOKEN"')
    elif {"basic": []} in operation["security"]:
        words.append('-u "$ORGANIZATION:$SECRET" -H "Substra-Channel-Name: mychannel"')
    elif {"refresh": []} in operation["security"]:
        words.append("-b cookies -c cookies")
    bodies = operation.get("requestBody", {}).get("content", {})
    for kind, content in bodies.items():
        words += _sent(kind, content["example"])
        break
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            shown = str(parameter["schema"]["example"])
            path = path.replace("{" + parameter["name"] + "}", shown)
    return " ".join([*words, f"$API{path}"])


def _sent(kind: str, example: Any) -> list[str]:
    if kind == "multipart/form-data":
        files = [f"-F {name}=@{name}" for name in example if name != "json"]
        return [f"-F json='{json.dumps(example['json'])}'", *files]
    if kind == "application/x-www-form-urlencoded":
        return [f"-d {name}={json.dumps(value)}" for name, value in example.items()]
    return ["-H 'Content-Type: application/json'", f"-d '{json.dumps(example)}'"]


def markdown(document: dict[str, Any]) -> str:
    """All operations, by tag in the order of their first one."""
    sections: dict[str, list[str]] = {}
    for entry in entries(document):
        lines = sections.setdefault(entry.tag, [])
        lines += [f"### {entry.method} `{entry.path}`", "", f"{entry.summary} For {entry.who}.", ""]
        if entry.parameters:
            lines += ["| parameter | value |", "|---|---|"]
            lines += [f"| `{name}` | {kind.replace('|', ',')} |" for name, kind in entry.parameters]
            lines.append("")
        lines += ["```bash", entry.call, "```", ""]
        for kind, body in entry.bodies:
            lines += [f"Body, `{kind}`:", "", "```json", body, "```", ""]
        lines += [f"Answer {entry.status}:", "", "```json", entry.answer or "(no body)", "```", ""]
    return "\n".join(
        line for tag, lines in sections.items() for line in (f"## {tag.capitalize()}", "", *lines)
    )


def page(document: dict[str, Any], prefix: str) -> str:
    """One HTML page; nothing in it comes from elsewhere."""
    title = html.escape(document["info"]["title"])
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>',
        f"<style>{STYLE}</style><h1>{title} {html.escape(document['info']['version'])}</h1>",
        f'<p><a href="{html.escape(prefix)}/schema/?format=json">OpenAPI document</a></p>',
    ]
    tag = ""
    for entry in entries(document):
        if entry.tag != tag:
            tag = entry.tag
            parts.append(f"<h2>{html.escape(tag.capitalize())}</h2>")
        parts.append(_details(entry))
    return "\n".join(parts)


def _details(entry: Entry) -> str:
    rows = "".join(
        f"<li><code>{html.escape(name)}</code> {html.escape(kind)}</li>"
        for name, kind in entry.parameters
    )
    bodies = "".join(
        f"<p>Body, {html.escape(kind)}:</p><pre>{html.escape(body)}</pre>"
        for kind, body in entry.bodies
    )
    return (
        f"<details><summary><b>{entry.method}</b> <code>{html.escape(entry.path)}</code></summary>"
        f"<p>{html.escape(entry.summary)} For {html.escape(entry.who)}.</p><ul>{rows}</ul>"
        f"<pre>{html.escape(entry.call)}</pre>{bodies}<p>Answer {html.escape(entry.status)}:</p>"
        f"<pre>{html.escape(entry.answer)}</pre></details>"
    )
