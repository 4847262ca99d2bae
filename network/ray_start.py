"""`ray start` for a laptop: the node is 127.0.0.1, and what nobody uses here is not started.

Ray replaces a loopback address by the machine's own, so a cluster would die when a laptop changes its network;
and it starts the Ray Client server (48 MB) without a switch to leave it out. Neither has an option (2.60), so
both are said to Ray's own modules before its command runs. What is not found there is left as Ray does it.
"""

import sys
from typing import Any

# Modules of the dashboard: those for training, datasets, Grafana and usage reports show nothing here.
USED_MODULES = ("JobHead", "NodeHead", "ReportHead", "ServeHead", "StateHead")


def stay_on_loopback() -> None:
    """Keep `127.0.0.1` as the address of this node; for the head and for every driver."""
    from ray._private import services

    original = getattr(services, "get_node_ip_address", None)
    if original is not None:
        services.get_node_ip_address = lambda address=None: "127.0.0.1"


def leave_out_client_server() -> None:
    """Ray skips the server when its packages are missing: say so."""
    from ray.scripts import scripts

    if hasattr(scripts, "get_ray_client_dependency_error"):
        scripts.get_ray_client_dependency_error = lambda: ImportError("not used here")


def trim_dashboard() -> None:
    """Load only the modules of the dashboard that show something of this network."""
    from ray._private import services

    original = services.start_ray_process

    def start(command: list[str], process_type: str, **options: Any) -> Any:
        if process_type == "dashboard" and not any("--modules-to-load" in word for word in command):
            command = [*command, f"--modules-to-load={','.join(USED_MODULES)}"]
        return original(command, process_type, **options)

    services.start_ray_process = start


def main() -> None:
    stay_on_loopback()
    leave_out_client_server()
    trim_dashboard()
    from ray.scripts.scripts import main as ray

    sys.argv = ["ray", "start", *sys.argv[1:]]
    ray()


if __name__ == "__main__":
    main()
