"""Only what the permissions allow travels: refusals as the SDK's users see them."""

from pathlib import Path

import pytest
import substra
from substra.sdk.models import ComputePlanStatus

from tests.e2e.conftest import RunningNetwork
from tests.e2e.playground import Data, Playground, output_of


def test_model_is_refused_to_an_organization_without_permission(
    playground: Playground, data: list[Data]
) -> None:
    task = playground.task(
        playground.function("add"), data[0].inputs(), permissions=playground.permissions(0)
    )
    assert playground.run([task]).status == ComputePlanStatus.done
    assert playground.model(task, client=0)["value"] == 4
    with pytest.raises(substra.exceptions.AuthorizationError) as refusal:
        playground.model(task, client=1)
    assert refusal.value.status_code == 403


def test_private_model_cannot_be_an_input_elsewhere(
    playground: Playground, data: list[Data]
) -> None:
    function = playground.function("add")
    private = playground.task(function, data[0].inputs(), permissions=playground.permissions(0))
    stolen = playground.task(function, [*data[1].inputs(), output_of(private)], worker=1)
    with pytest.raises(substra.exceptions.AuthorizationError):
        playground.submit([private, stolen])


def test_opener_is_refused_to_an_organization_without_permission(
    playground: Playground, tmp_path: Path
) -> None:
    private = playground.data([5], 0, permissions=playground.permissions(0))
    with pytest.raises(substra.exceptions.AuthorizationError):
        playground.clients[1].download_dataset(private.dataset, str(tmp_path))
    with pytest.raises(substra.exceptions.AuthorizationError):
        playground.clients[1].describe_dataset(private.dataset)


def test_private_data_cannot_be_used_by_the_other_organization(playground: Playground) -> None:
    private = playground.data([5], 0, permissions=playground.permissions(0))
    task = playground.task(playground.function("add"), private.inputs())
    with pytest.raises(substra.exceptions.AuthorizationError):
        playground.submit([task], client=1)


def test_private_function_cannot_be_used_by_the_other_organization(
    playground: Playground, data: list[Data], tmp_path: Path
) -> None:
    key = playground.function("add", permissions=playground.permissions(0))
    with pytest.raises(substra.exceptions.AuthorizationError):
        playground.submit([playground.task(key, data[1].inputs(), worker=1)], client=1)
    with pytest.raises(substra.exceptions.AuthorizationError):
        playground.clients[1].download_function(key, str(tmp_path))


def test_only_the_owner_renames(playground: Playground, data: list[Data]) -> None:
    with pytest.raises(substra.exceptions.AuthorizationError):
        playground.clients[1].update_dataset(data[0].dataset, "mine now")
    playground.clients[0].update_dataset(data[0].dataset, "renamed")
    assert playground.clients[0].get_dataset(data[0].dataset).name == "renamed"


def test_unknown_organization_in_permissions_is_a_bad_request(playground: Playground) -> None:
    nobody = substra.schemas.Permissions(public=False, authorized_ids=["NobodyMSP"])
    with pytest.raises(substra.exceptions.InvalidRequest, match="invalid permission input values"):
        playground.data([1], permissions=nobody)


def test_wrong_password_gives_no_token(network: RunningNetwork) -> None:
    url = network.organizations[0]["url"]
    with pytest.raises(substra.exceptions.BadLoginException):
        substra.Client(backend_type="remote", url=url, username="org-1", password="wrong")


def test_unknown_keys_are_not_found(playground: Playground) -> None:
    nowhere = "0d3b3b6e-3b5c-4d43-8d5c-2b7c1c5f8f6a"
    client = playground.clients[0]
    for get in (client.get_task, client.get_compute_plan, client.get_function, client.get_dataset):
        with pytest.raises(substra.exceptions.NotFound):
            get(nowhere)
