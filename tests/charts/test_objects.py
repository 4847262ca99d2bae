"""Both charts in many ways, and every network of skaffold.yaml, rendered by helm and held against schemas.

Needs helm, no cluster: `make charts`. `schemas.json` (`vendor.py`) holds what an API server's OpenAPI and the
definitions of KubeRay, cert-manager, the Gateway API and the Prometheus operator say, strictly: a field that
they lack is refused.
"""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.cluster.charts.helm import rendered
from tests.cluster.charts.variants import VARIANTS, values, variant
from tests.unit.helm.profiles import profiles, releases

SCHEMAS: dict[str, Any] = json.loads(Path(__file__).with_name("schemas.json").read_text("utf-8"))
SEEN = {
    *("HorizontalPodAutoscaler", "Certificate", "ServiceMonitor", "HTTPRoute", "GRPCRoute"),
    *("RayCluster", "RayService", "Ingress", "NetworkPolicy", "PodDisruptionBudget"),
}


def refusals(document: dict[str, Any]) -> list[str]:
    """Where an object is none of its kind; a kind without a schema is a refusal too."""
    kind = f"{document['apiVersion']}/{document['kind']}"
    found = SCHEMAS["kinds"].get(kind)
    if found is None:
        return [f"no schema of {kind}"]
    schema = {**found, "definitions": SCHEMAS["definitions"]}
    if "$ref" in found:
        schema = {"allOf": [found], "definitions": SCHEMAS["definitions"]}
    name = f"{document['kind']} {document['metadata']['name']}"
    errors = jsonschema.Draft7Validator(schema).iter_errors(document)
    return [f"{name} {error.json_path}: {error.message[:200]}" for error in errors]


@pytest.mark.parametrize(
    ("chart", "name", "change"), VARIANTS, ids=lambda it: it if isinstance(it, str) else "-"
)
def test_objects_of_a_variant_fit_their_schemas(
    chart: str, name: str, change: dict[str, Any]
) -> None:
    documents = rendered(chart, values(chart, change))
    assert documents
    assert [refusal for document in documents for refusal in refusals(document)] == []


@pytest.mark.parametrize("profile", ["", *profiles()])
def test_objects_of_a_profile_fit_their_schemas(profile: str) -> None:
    found = releases([profile] if profile else [])
    assert found
    for release in found:
        documents = rendered(release.chart, release.values, release.namespace, release.name)
        assert [refusal for document in documents for refusal in refusals(document)] == []


def test_kinds_of_other_products_are_among_them() -> None:
    kinds = {
        document["kind"]
        for chart, _, change in VARIANTS
        for document in rendered(chart, values(chart, change))
    }
    assert SEEN - kinds == set()


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "replica"), 2),
        ("Deployment", ("spec", "replicas"), "two"),
        ("Deployment", ("spec", "template", "spec", "tolerate"), []),
        ("Ingress", ("spec", "rules"), {}),
        ("HTTPRoute", ("spec", "hostname"), "a.b"),
        ("ServiceMonitor", ("spec", "endpoint"), []),
    ],
)
def test_a_mistake_would_be_seen(kind: str, path: tuple[str, ...], value: Any) -> None:
    documents = rendered("substra-backend", variant("substra-backend", "most"))
    document = deepcopy(next(it for it in documents if it["kind"] == kind))
    assert refusals(document) == []
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    assert len(refusals(document)) == 1
