"""The OpenAPI document and its page over HTTP (rest-api.md 5.3)."""

import httpx
import pytest
import yaml

PATHS = ("/schema/", "/schema/swagger-ui/", "/schema/redoc/")


def test_document_and_page_are_for_whoever_is_logged_in(
    client: httpx.Client, user: httpx.Client
) -> None:
    for path in PATHS:
        assert httpx.get(f"{client.base_url}/org-1{path}", timeout=30).status_code == 401
        assert user.get(f"/org-1{path}").status_code == 200


def test_document_is_yaml_or_json(user: httpx.Client) -> None:
    shown = user.get("/org-1/schema/")
    assert shown.headers["Content-Type"].startswith("application/vnd.oai.openapi")
    assert shown.headers["Content-Disposition"] == 'inline; filename="schema.yaml"'
    document = yaml.safe_load(shown.text)
    assert document["openapi"] == "3.0.3"
    assert document["servers"] == [{"url": "/org-1"}]
    by_query = user.get("/org-1/schema/?format=json")
    by_header = user.get("/org-1/schema/", headers={"Accept": "application/vnd.oai.openapi+json"})
    for answer in (by_query, by_header):
        assert answer.headers["Content-Type"] == "application/vnd.oai.openapi+json"
        assert answer.json() == document


@pytest.mark.parametrize("path", PATHS[1:])
def test_page_shows_every_route_and_loads_nothing(user: httpx.Client, path: str) -> None:
    answer = user.get(f"/org-1{path}")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "<script" not in answer.text
    paths = user.get("/org-1/schema/?format=json").json()["paths"]
    assert all(f"<code>{route}</code>" in answer.text for route in paths)
