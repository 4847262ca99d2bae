"""What the settings say of pods."""

from typing import Any

import pytest
from pydantic import ValidationError

from backend.engine.compute.cluster.options import (
    MOST_OUTPUT,
    pod_shape,
    pool_options,
    session_options,
)
from backend.engine.compute.cluster.pods import dashboard_url
from backend.settings import Settings

NEEDED: dict[str, Any] = {
    "COMPUTE": "kuberay",
    "COMPUTE_NAMESPACE": "compute",
    "COMPUTE_CLUSTER": "org-1-compute",
    "COMPUTE_POD": {"runner_image": "substra-ray:1"},
    "OBJECTSTORE_URL": "http://minio:9000",
    "REGISTRY": "registry:5000",
    "RUNNER_API_URL": "http://server:8000/org-1",
}


def settings(**changes: Any) -> Settings:
    return Settings(**{**NEEDED, **changes})


@pytest.mark.parametrize("name", sorted(set(NEEDED) - {"COMPUTE", "RUNNER_API_URL"}))
def test_what_pods_need_is_asked_for(name: str) -> None:
    given = {key: value for key, value in NEEDED.items() if key != name}
    with pytest.raises(ValidationError, match=name):
        Settings(**given)


def test_chainkeys_and_pods_refuse_each_other() -> None:
    with pytest.raises(ValidationError, match="TASK_CHAINKEYS_ENABLED"):
        settings(TASK_CHAINKEYS_ENABLED=True)


def test_a_pods_shape_takes_placement_too() -> None:
    shape = pod_shape(
        settings(
            COMPUTE_POD={
                **NEEDED["COMPUTE_POD"],
                "function_limits": {"nvidia.com/gpu": "1"},
                "node_selector": {"disk": "fast"},
                "tolerations": [{"operator": "Exists"}],
            }
        )
    )
    assert shape.function_limits == {"nvidia.com/gpu": "1"}
    assert shape.placement.node_selector == {"disk": "fast"}
    assert shape.placement.tolerations == ({"operator": "Exists"},)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown gpus"):
        pod_shape(settings(COMPUTE_POD={**NEEDED["COMPUTE_POD"], "gpus": 1}))


def test_sessions_are_told_where_to_ask_and_what_functions_may_use() -> None:
    told = session_options(settings(FUNCTION_PROCESSES=7, FUNCTION_OUTPUT_BYTES=0))
    assert told["url"] == "http://server:8000/org-1"
    assert told["limits"] == {"processes": 7}
    assert told["output_bytes"] == MOST_OUTPUT
    assert pool_options(settings(COMPUTE_PODS=3)).pods == 3


def test_jobs_are_sent_to_the_heads_service_unless_said_otherwise() -> None:
    assert dashboard_url(settings()) == "http://org-1-compute-head-svc.compute.svc:8265"
    assert dashboard_url(settings(COMPUTE_DASHBOARD_URL="http://ray:1")) == "http://ray:1"
