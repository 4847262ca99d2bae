"""The thin Ray Serve deployment of one organization's application; everything it does is in app.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend.settings import Settings

ONGOING_REQUESTS = 1000  # Serve's default of 5 collapses at 64 connections (ray.md 2.1)
DRAIN_S = 10


def application(settings_path: Path) -> Any:
    """A bound Serve application: one replica that asks for no CPU (rule 21).

    Only the path of the settings travels through Ray (rule 18).
    """
    from ray import serve

    settings = Settings.read(settings_path)
    ingress = serve.ingress(_builder(str(settings_path)))()
    deployment = serve.deployment(
        ingress,
        name="api",
        num_replicas=1,
        max_ongoing_requests=ONGOING_REQUESTS,
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=1,
        health_check_timeout_s=10,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=DRAIN_S,
        logging_config={"enable_access_log": False, "log_level": settings.LOG_LEVEL},
    )
    return deployment.bind()


def configured(arguments: dict[str, str]) -> Any:
    """The same as `import_path` of a Serve configuration, whose `args` are `{"settings": "<path>"}`.

    Replicas, their resources and autoscaling stand in that configuration and win (the chart's RayService).
    """
    return application(Path(arguments["settings"]))


def _builder(settings_path: str) -> Callable[[], Any]:
    """What Serve calls in the replica: a function without arguments that returns the ASGI application."""

    def build() -> Any:
        from backend.app import create_app
        from backend.kit import garbage
        from backend.monitoring.logs import configure

        _stay_on_loopback()
        settings = Settings.read(Path(settings_path))
        configure(settings.LOG_LEVEL, organization=settings.NAME, process="serve")
        app = create_app(settings)
        garbage.settle()
        return app

    return build


def _stay_on_loopback() -> None:
    """On a node that is 127.0.0.1, the replica's own gRPC server is for this machine only.

    Serve (2.60) binds it to all interfaces, and what it receives is unpickled. Nobody here uses it.
    """
    import ray
    from ray.serve._private import replica

    bind = getattr(replica, "add_port_to_grpc_server", None)
    if bind is not None and ray.util.get_node_ip_address() == "127.0.0.1":
        replica.add_port_to_grpc_server = lambda server, address: bind(
            server, address.replace("[::]", "127.0.0.1")
        )
