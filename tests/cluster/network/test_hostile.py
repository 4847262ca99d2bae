"""A function of the SDK that looks for what is not its own, in a pod of the product."""

from substra.sdk.models import ComputePlanStatus

from tests.cluster.charts.values import PORT
from tests.cluster.conftest import NODE
from tests.cluster.network.installed import Network
from tests.cluster.network.test_plan import WAIT_S, built
from tests.e2e.playground import Playground

PATHS = [
    *("/substra/session/", "/substra/session/key", "/substra/work/", "/etc/shadow"),
    "/var/run/secrets/kubernetes.io/serviceaccount/token",
    *("/proc/1/environ", "/proc/1/root/", "/substra/agent/", "/root/"),
]


def test_it_finds_nothing_and_reaches_nobody(network: Network, playground: Playground) -> None:
    organization = network.organizations[0]
    built(playground, "reach")
    address = network.address(organization.service).removeprefix("http://").partition(":")
    places = [[address[0], int(address[2])], [NODE, 6443], ["kubernetes.default.svc", 443]]
    data = playground.data([*PATHS, *places])
    task = playground.task(playground.function("reach"), data.inputs())
    assert playground.run([task], WAIT_S).status == ComputePlanStatus.done
    found = playground.model(task)
    got = {name: said for name, said in found["report"].items() if said.startswith("got")}
    assert got == {}
    assert len(found["report"]) == len(PATHS) + len(places) + 3
    assert (found["secrets"], found["user"]) == ([], 1001)
    assert address[2] == str(PORT)


def test_a_failure_has_the_functions_own_words(network: Network, playground: Playground) -> None:
    built(playground, "fail")
    data = playground.data([1])
    task = playground.task(playground.function("fail"), data.inputs())
    plan = playground.run([task], WAIT_S)
    assert plan.status == ComputePlanStatus.failed
    log = playground.clients[0].get_logs(task.task_id)
    assert "about to fail" in log
    assert "told to fail" in log
