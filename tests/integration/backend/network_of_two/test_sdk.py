"""The published SDK against both organizations: what it creates, reads, follows and downloads."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import substra
from substra.sdk import exceptions, schemas

from tests.integration.backend.conftest import PASSWORD
from tests.integration.backend.network_of_two.assets import CONTEXT, zipped
from tests.integration.backend.network_of_two.conftest import Network, Organization, eventually

OPEN = schemas.Permissions(public=True, authorized_ids=[])
CLOSED = schemas.Permissions(public=False, authorized_ids=[])


def _client(organization: Organization) -> substra.Client:
    return substra.Client(
        url=organization.url,
        backend_type="remote",
        username=organization.node.settings.USERS[0].username,
        password=PASSWORD,
    )


@pytest.fixture
def clients(network: Network) -> Iterator[tuple[substra.Client, substra.Client]]:
    one, two = _client(network.one), _client(network.two)
    yield one, two
    one.logout()
    two.logout()


def _dataset(folder: Path, permissions: schemas.Permissions) -> schemas.DatasetSpec:
    folder.mkdir()
    (folder / "opener.py").write_text("class Opener: ...")
    (folder / "description.md").write_text("# é")
    return schemas.DatasetSpec(
        name="dataset",
        type="csv",
        data_opener=folder / "opener.py",
        description=folder / "description.md",
        permissions=permissions,
        logs_permission=OPEN,
        metadata={"k": "v"},
    )


def test_sdk_registers_reads_and_downloads(
    clients: tuple[substra.Client, substra.Client], tmp_path: Path
) -> None:
    one, two = clients
    info = one.organization_info()
    assert info.organization_id == "MyOrg1MSP"
    assert info.config.model_export_enabled
    assert [o.is_current for o in one.list_organization()] == [True, False]
    key = one.add_dataset(_dataset(tmp_path / "d", OPEN))
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "data.csv").write_text("1,2")
    sample = one.add_data_sample(
        schemas.DataSampleSpec(data_manager_keys=[key], path=tmp_path / "sample"), local=True
    )
    assert [str(k) for k in one.get_dataset(key).data_sample_keys] == [str(sample)]
    context = zipped(CONTEXT)
    (tmp_path / "function.zip").write_bytes(context)
    function = one.add_function(
        schemas.FunctionSpec(
            name="function",
            description=tmp_path / "d" / "description.md",
            file=tmp_path / "function.zip",
            permissions=OPEN,
            inputs=[
                schemas.FunctionInputSpec(
                    identifier="m", kind=schemas.AssetKind.model, optional=True, multiple=False
                )
            ],
            outputs=[
                schemas.FunctionOutputSpec(
                    identifier="o", kind=schemas.AssetKind.model, multiple=False
                )
            ],
        )
    )
    eventually(lambda: [f for f in two.list_function() if f.key == function])
    assert two.get_function(function).inputs[0].identifier == "m"
    (tmp_path / "down").mkdir()
    path = two.download_function(function, str(tmp_path / "down"))
    assert Path(path).read_bytes() == context
    assert two.describe_function(function) == "# é"
    assert two.describe_dataset(key) == "# é"
    path = two.download_dataset(key, str(tmp_path / "down"))
    assert Path(path).read_text() == "class Opener: ..."
    one.update_dataset(key, "renamed")
    assert one.get_dataset(key).name == "renamed"
    with pytest.raises(exceptions.AuthorizationError):
        two.update_dataset(key, "mine")
    with pytest.raises(exceptions.NotFound):
        one.get_dataset("00000000-0000-0000-0000-000000000000")
    second = one.add_dataset(_dataset(tmp_path / "d2", CLOSED))
    one.link_dataset_with_data_samples(second, [sample])
    assert [str(k) for k in one.get_dataset(second).data_sample_keys] == [str(sample)]
    eventually(lambda: [d for d in two.list_dataset() if d.key == second])
    with pytest.raises(exceptions.AuthorizationError):
        two.download_dataset(second, str(tmp_path / "down"))


def test_sdk_follows_pages(
    network: Network, clients: tuple[substra.Client, substra.Client]
) -> None:
    one, _ = clients
    found = one.list_dataset(filters={"owner": ["MyOrg1MSP"]})
    assert found == sorted(found, key=lambda d: d.creation_date, reverse=True)
    assert one.list_dataset(filters={"name": "renamed"})
    assert not one.list_dataset(filters={"name": "no such name"})


def test_sdk_is_told_of_bad_credentials_and_input(network: Network, tmp_path: Path) -> None:
    with pytest.raises(exceptions.BadLoginException):
        substra.Client(
            url=network.one.url, backend_type="remote", username="org-1", password="wrong"
        ).list_function()
    client = substra.Client(url=network.one.url, backend_type="remote", token="0" * 40)
    with pytest.raises(exceptions.AuthenticationError):
        client.list_function()
    spec = _dataset(tmp_path / "d", OPEN)
    spec.metadata = {"a__b": "x"}
    with pytest.raises(exceptions.InvalidRequest):
        _client(network.one).add_dataset(spec)
