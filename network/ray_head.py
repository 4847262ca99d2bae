"""The local Ray of a network: its head process, and the driver that puts the applications on it."""

import os
import sys
from hashlib import sha256

from network import probes
from network.children import Part
from network.layout import Layout
from network.state import INGRESS_PORTS, WORKER_PORTS, State

NAMESPACE = "substra-ray"
OBJECT_STORE_BYTES = 100_000_000  # files travel by path and HTTP, never through Ray's object store
CLOSED = "http://127.0.0.1:9"  # nobody listens there: usage reports go nowhere (ray.md 1.6)
TEN_YEARS_MS = 315_360_000_000


def environment(layout: Layout, state: State) -> dict[str, str]:
    """Variables that the head and every driver need before `import ray` (ray.md 1.4–1.6 and 2.3)."""
    haproxy = layout.run / "serve"
    ports = state.ports
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(layout.ray_token_file),
        "RAY_TMPDIR": str(layout.ray_folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_USAGE_STATS_REPORT_URL": CLOSED,
        "RAY_worker_niceness": "0",
        "RAY_enable_metrics_collection": "0",
        "RAY_event_stats": "0",
        "RAY_task_events_max_num_task_in_gcs": "5000",  # 3.5 MB for each thousand
        "RAY_maximum_gcs_destroyed_actor_cached_count": "200",  # restarted runners; 100,000 by default
        # What the driver's actors do goes on when the driver has ended; a dead actor's calls still fail.
        "RAY_gcs_mark_task_failed_on_job_done_delay_ms": str(TEN_YEARS_MS),
        "RAY_enable_autoscaler_v2": "0",
        "RAY_ADDRESS": f"127.0.0.1:{ports['ray-gcs']}",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",  # a replaced replica would stay for 30 s
        "FORWARDED_ALLOW_IPS": "",  # Serve's uvicorn would believe any X-Forwarded-For (rule 28)
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports["serve-metrics"]),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports["serve-stats"]),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports["serve-fallback"]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(ports["serve-ingress"]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(ports["serve-ingress"] + INGRESS_PORTS - 1),
    }


def command(state: State, layout: Layout) -> list[str]:
    """`ray start --head --block` with every port given."""
    ports = state.ports
    given = {
        "node-ip-address": "127.0.0.1",
        "port": ports["ray-gcs"],
        "node-manager-port": ports["ray-node-manager"],
        "object-manager-port": ports["ray-object-manager"],
        "min-worker-port": ports["ray-workers"],
        "max-worker-port": ports["ray-workers"] + WORKER_PORTS - 1,
        "dashboard-host": "127.0.0.1",
        "dashboard-port": ports["ray-dashboard"],
        "dashboard-agent-listen-port": ports["ray-agent-http"],
        "dashboard-agent-grpc-port": ports["ray-agent-grpc"],
        "runtime-env-agent-port": ports["ray-runtime-env"],
        "metrics-export-port": ports["ray-metrics"],
        "object-store-memory": OBJECT_STORE_BYTES,
        "num-cpus": os.cpu_count() or 1,
        "include-dashboard": "true",
        "include-log-monitor": "false",
        "temp-dir": str(layout.ray_folder),
    }
    options = [f"--{name}={value}" for name, value in given.items()]
    flags = [
        "--head",
        "--block",
        "--disable-usage-stats",
        "--no-monitor",
    ]  # nothing to autoscale here
    return [sys.executable, "-m", "network.ray_start", *flags, *options]


def head_part(layout: Layout, state: State, variables: dict[str, str]) -> Part:
    # `ray start` refuses to make a head while RAY_ADDRESS names one.
    own = {name: value for name, value in variables.items() if name != "RAY_ADDRESS"}
    return Part(
        name="ray-head",
        role="ray-head",
        command=lambda: command(state, layout),
        environment=own,
        folder=layout.run,
        healthy=lambda: probes.answers(state.ports["ray-dashboard"], "/api/gcs_healthz"),
        stop_timeout_s=2,  # it would wait for every process in turn; the supervisor ends its whole tree
    )


def serve_part(layout: Layout, state: State, variables: dict[str, str]) -> Part:
    """The driver that deploys applications and control actors, then ends; they stay (detached)."""
    words = [sys.executable, "-m", "network.ray_deploy", "--state", str(layout.state)]
    return Part(
        name="ray-deploy",
        role="ray-deploy",
        command=lambda: words,
        environment=variables,
        folder=layout.run,
        after=("ray-head", "orchestrator", *(f"api-{name}" for name in state.names)),
        once=True,
        stop_timeout_s=1,
        fingerprint=_digest(layout, state),
    )


def _digest(layout: Layout, state: State) -> str:
    """Changes with the settings of any organization."""
    content = b"".join(layout.settings_file(name).read_bytes() for name in state.names)
    return sha256(content).hexdigest()
