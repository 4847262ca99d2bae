"""Write `schemas.json` again: what an API server and custom resources say of the kinds that the charts use.

    python -m tests.charts.vendor FILE.yaml…    with KUBECONFIG, and the CustomResourceDefinitions of others

Descriptions and defaults are left away; pods inside of custom resources refer to the one description of a pod.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from kuberay.transport import Connection
from tests.cluster.charts.taking import CHECKED

PLACE = Path(__file__).with_name("schemas.json")
FOREIGN = {"Certificate", "ServiceMonitor", "GRPCRoute", "HTTPRoute"}
METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
POD = "io.k8s.api.core.v1.PodTemplateSpec"
Schema = dict[str, Any]


def main(files: Iterable[str]) -> None:
    connection = Connection.from_kubeconfig()
    kinds: dict[str, Schema] = {}
    definitions: dict[str, Schema] = {}
    for kind, path in sorted(CHECKED.items()):
        group = path.removeprefix("/").partition("/namespaces")[0]
        found = connection.request("GET", f"/openapi/v3/{group}")["components"]["schemas"]
        names = [name for name in found if name.rpartition(".")[2] == kind]
        (name,) = [name for name in names if "x-kubernetes-group-version-kind" in found[name]]
        version = group.removeprefix("api/").removeprefix("apis/")
        kinds[f"{version}/{kind}"] = {"$ref": f"#/definitions/{name}"}
        _take(name, found, definitions)
    for file in files:
        for document in yaml.safe_load_all(Path(file).read_text("utf-8")):
            spec = (document or {}).get("spec", {})
            if spec.get("names", {}).get("kind") in FOREIGN:
                for version in spec["versions"]:
                    name = f"{spec['group']}/{version['name']}/{spec['names']['kind']}"
                    kinds[name] = _lean(version["schema"]["openAPIV3Schema"], top=True)
    whole = {"kinds": kinds, "definitions": definitions}
    PLACE.write_text(json.dumps(whole, sort_keys=True, separators=(",", ":")) + "\n", "utf-8")


def _take(name: str, found: dict[str, Schema], definitions: dict[str, Schema]) -> None:
    """Bring a schema, and those to which it refers, into `definitions`."""
    if name in definitions:
        return
    definitions[name] = _lean(found[name], top="x-kubernetes-group-version-kind" in found[name])
    for other in _references(definitions[name]):
        if other in found:
            _take(other, found, definitions)


def _references(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {name for inner in schema for name in _references(inner)}
    if not isinstance(schema, dict):
        return set()
    here = {schema["$ref"].rpartition("/")[2]} if isinstance(schema.get("$ref"), str) else set()
    return here | {name for inner in schema.values() for name in _references(inner)}


def _lean(schema: Schema, *, top: bool = False) -> Schema:
    """As JSON Schema: strict where all fields are named, null where that is allowed."""
    if "$ref" in schema:
        return {"$ref": f"#/definitions/{schema['$ref'].rpartition('/')[2]}"}
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        return {"type": ["integer", "string"]}
    if _is_pod(schema):
        return {"$ref": f"#/definitions/{POD}"}
    found: Schema = {
        name: schema[name]
        for name in ("type", "enum", "pattern", "minimum", "maximum", "required", "maxLength")
        if name in schema
    }
    for name in ("oneOf", "anyOf", "allOf"):
        if name in schema:
            found[name] = [_lean(inner) for inner in schema[name]]
    if "items" in schema:
        found["items"] = _lean(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = _lean(schema["additionalProperties"])
    if "properties" in schema:
        named = {name: _lean(inner) for name, inner in schema["properties"].items()}
        named.pop("status", None)
        if top:
            named["apiVersion"] = named["kind"] = {"type": "string"}
            named["metadata"] = {"$ref": f"#/definitions/{METADATA}"}
        found["properties"] = named
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            found["additionalProperties"] = False
    if schema.get("nullable") and "type" in found:
        found["type"] = [found["type"], "null"]
    return found


def _is_pod(schema: Schema) -> bool:
    """A pod's template inside of a custom resource."""
    spec = schema.get("properties", {}).get("spec", {})
    inner = spec.get("properties", {})
    return bool({"containers", "initContainers", "volumes"} <= inner.keys())


if __name__ == "__main__":
    main(sys.argv[1:])
