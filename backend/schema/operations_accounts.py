"""Operations of accounts, sessions and the service itself (rest-api.md 3–5)."""

from backend.schema.operation import JSON, MATCH, PAGE, Operation, json_or_form, ordering, query
from backend.schema.parts import (
    EMPTY,
    KEY,
    MOMENT,
    TEXT,
    Schema,
    array,
    choice,
    nullable,
    page,
    record,
    ref,
    text,
)
from backend.schema.shapes import PASSWORD, ROLES, USERNAME

DETAIL: Schema = record(detail=text("Token removed"))
ROLE = {JSON: record(("role",), role=choice(*ROLES))}
AWAITING = query("username", USERNAME)
HTML = "text/html; charset=utf-8"

OPERATIONS = (
    Operation("GET", "/info/", "anyone", ref("Info")),
    Operation("GET", "/organization/", "user", array(ref("Organization"))),
    Operation("GET", "/organization/{pk}/", "user", ref("Organization")),
    Operation("GET", "/liveness", "anyone", "text/plain; charset=utf-8"),
    Operation("GET", "/readiness", "anyone", "text/plain; charset=utf-8"),
    Operation(
        "GET",
        "/schema/",
        "user",
        "application/vnd.oai.openapi, application/vnd.oai.openapi+json",
        parameters=(query("format", choice("json", "yaml")),),
    ),
    Operation("GET", "/schema/swagger-ui/", "user", HTML),
    Operation("GET", "/schema/redoc/", "user", HTML),
    Operation("GET", "/ray-dashboard/{cluster}/{path}", "admin", f"{HTML}, application/json"),
    Operation("POST", "/me/login/", "anyone", ref("Claims"), body=json_or_form(ref("Credentials"))),
    Operation("POST", "/me/refresh/", "refresh cookie", ref("Claims")),
    Operation("GET", "/me/logout/", "anyone", EMPTY),
    Operation(
        "GET",
        "/oidc/authenticate/",
        "anyone",
        None,
        302,
        (query("next", text("http://frontend.example.org/")),),
    ),
    Operation(
        "GET",
        "/oidc/callback/",
        "anyone",
        None,
        302,
        (query("code", TEXT), query("state", TEXT)),
    ),
    Operation("GET", "/oidc/logout/", "anyone", None, 302),
    Operation(
        "POST", "/api-token-auth/", "anyone", ref("Token"), body=json_or_form(ref("Credentials"))
    ),
    Operation(
        "POST",
        "/api-token/",
        "user",
        ref("Token"),
        body={JSON: record(("note",), expires_at=MOMENT, note=nullable(TEXT, "for the CI"))},
    ),
    Operation("GET", "/active-api-tokens/", "user", ref("ActiveTokens")),
    Operation("DELETE", "/active-api-tokens/", "user", DETAIL, parameters=(query("id", KEY),)),
    Operation(
        "GET",
        "/users/",
        "user",
        page(ref("User")),
        parameters=(*PAGE, MATCH, ordering("username"), query("role", choice(*ROLES))),
    ),
    Operation(
        "POST",
        "/users/",
        "admin",
        ref("User"),
        201,
        body={JSON: record(("role",), username=USERNAME, password=PASSWORD, role=choice(*ROLES))},
    ),
    Operation("GET", "/users/{username}/", "user", ref("User")),
    Operation("PUT", "/users/{username}/", "admin", ref("User"), body=ROLE),
    Operation("DELETE", "/users/{username}/", "admin", None, 204),
    Operation(
        "PUT",
        "/users/{username}/password/",
        "user",
        ref("User"),
        body={JSON: record(password=PASSWORD)},
    ),
    Operation(
        "POST",
        "/users/{username}/reset_password/",
        "admin",
        record(reset_password_token=text("eyJhbGciOi…")),
    ),
    Operation(
        "GET",
        "/users/{username}/verify_token/",
        "anyone",
        EMPTY,
        parameters=(query("token", text("eyJhbGciOi…")),),
    ),
    Operation(
        "POST",
        "/users/{username}/set_password/",
        "anyone",
        ref("User"),
        body={JSON: record(token=text("eyJhbGciOi…"), password=PASSWORD)},
    ),
    Operation(
        "GET",
        "/users-awaiting-approval/",
        "admin",
        page(record(username=USERNAME, email=nullable(TEXT, "alice@example.org"))),
        parameters=(*PAGE, MATCH, ordering("username")),
    ),
    Operation(
        "PUT", "/users-awaiting-approval/", "admin", ref("User"), parameters=(AWAITING,), body=ROLE
    ),
    Operation("DELETE", "/users-awaiting-approval/", "admin", DETAIL, parameters=(AWAITING,)),
)
