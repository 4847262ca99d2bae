"""No made-up request gets a 500, and answers are what the OpenAPI document says (goals 3 and 7).

SUBSTRA_RAY_FUZZ_MINUTES makes it go on so long with other requests; `make fuzz` does.
"""

import os
import sys
import time

import pytest

from backend.fixtures.writing import write_sample
from tests.integration.backend.network_of_two.conftest import Network, Organization
from tests.integration.backend.network_of_two.fuzzing import Fuzzer, known_keys

MINUTES = float(os.environ.get("SUBSTRA_RAY_FUZZ_MINUTES", "0"))
LISTS = ("function", "data_manager", "data_sample", "compute_plan", "task", "model")


@pytest.fixture(scope="module")
def organization(network: Network) -> Organization:
    """Organization 1 with plans in every state, beside what its ledger knows."""
    write_sample(network.one.node, "mychannel", "org-1")
    return network.one


@pytest.fixture
def fuzzer(organization: Organization) -> Fuzzer:
    answer = organization.get("/schema/?format=json")
    assert answer.status_code == 200, answer.text
    known = [
        key
        for name in LISTS
        for key in known_keys(organization.get(f"/{name}/?page_size=5").json()["results"])
    ]
    assert len(known) > 20
    token = organization.client.headers["Authorization"].removeprefix("Token ")
    document = {**answer.json(), "servers": [{"url": organization.url}]}
    return Fuzzer(document, organization.url, known, token)


def test_no_request_of_a_user_gets_a_500_or_an_undeclared_answer(
    fuzzer: Fuzzer, capsys: pytest.CaptureFixture[str]
) -> None:
    if MINUTES:
        fuzzer.until(time.monotonic() + MINUTES * 60)
        with capsys.disabled():
            sys.stdout.write(f"\n{fuzzer.requests} requests, by status: {fuzzer.statuses}\n")
    else:
        fuzzer.once(examples=8)
    assert not fuzzer.problems, fuzzer.report()
    assert fuzzer.requests > 500
    assert {200, 201, 400, 404} <= fuzzer.statuses.keys()


def test_no_request_without_credentials_gets_a_500(fuzzer: Fuzzer) -> None:
    fuzzer.once(examples=3, credentials=False)
    assert not fuzzer.problems, fuzzer.report()
    assert {200, 401} <= fuzzer.statuses.keys()
