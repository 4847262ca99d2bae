"""Data managers and data samples (orchestrator.md 6.3)."""

from collections.abc import Iterable

from orchestrator import validation as v
from orchestrator.errors import Conflict, Denied, Invalid, NotFound
from orchestrator.identity import Caller
from orchestrator.needs import Needs
from orchestrator.rules import permissions
from orchestrator.rules.assets import check_registered
from orchestrator.state import Change, Decision, Known, Moment, NewEvent, Put, TakeAddress
from protos.orchestrator.common_pb2 import ASSET_DATA_MANAGER, ASSET_DATA_SAMPLE
from protos.orchestrator.datamanager_pb2 import (
    DataManager,
    NewDataManager,
    UpdateDataManagerParam,
    UpdateDataManagerResponse,
)
from protos.orchestrator.datasample_pb2 import (
    DataSample,
    NewDataSample,
    RegisterDataSamplesParam,
    RegisterDataSamplesResponse,
    UpdateDataSamplesParam,
    UpdateDataSamplesResponse,
)
from protos.orchestrator.event_pb2 import EVENT_ASSET_CREATED, EVENT_ASSET_UPDATED

MANAGER = "datamanager"
SAMPLE = "datasample"


# ------------------------------------------------------------------ data managers
def register_data_manager_needs(request: NewDataManager, known: Known, needs: Needs) -> None:
    needs.new(ASSET_DATA_MANAGER, request.key)
    needs.address((request.description.storage_address, request.opener.storage_address))


def register_data_manager(
    known: Known, caller: Caller, request: NewDataManager, now: Moment
) -> Decision:
    v.check(
        MANAGER,
        {
            "key": v.key(request.key),
            "name": v.name(request.name),
            "new_permissions": v.required(request, "new_permissions"),
            "logs_permission": v.required(request, "logs_permission"),
            "description": v.required_addressable(request, "description"),
            "opener": v.required_addressable(request, "opener"),
            "metadata": v.metadata(request.metadata),
        },
    )
    if known.is_taken(ASSET_DATA_MANAGER, request.key):
        raise Conflict(MANAGER, request.key)
    owner = caller.organization
    logs = permissions.build(request.logs_permission, owner, known.organizations)
    given = permissions.build_both(request.new_permissions, owner, known.organizations)
    check_registered(known, caller)
    addresses = (request.description.storage_address, request.opener.storage_address)
    known.check_addresses(addresses)
    manager = DataManager(
        key=request.key,
        name=request.name,
        owner=owner,
        permissions=given,
        description=request.description,
        opener=request.opener,
        creation_date=now.wire,
        logs_permission=logs,
        metadata=request.metadata,
    )
    return Decision(
        manager,
        [Put(ASSET_DATA_MANAGER, manager.key, manager), *map(TakeAddress, addresses)],
        [NewEvent(ASSET_DATA_MANAGER, EVENT_ASSET_CREATED, manager.key, manager)],
    )


def update_data_manager_needs(request: UpdateDataManagerParam, known: Known, needs: Needs) -> None:
    needs.document(ASSET_DATA_MANAGER, request.key)


def update_data_manager(
    known: Known, caller: Caller, request: UpdateDataManagerParam, now: Moment
) -> Decision:
    v.check(MANAGER, {"key": v.key(request.key), "name": v.name(request.name)})
    changed = DataManager()
    changed.CopyFrom(_own_manager(known, caller, request.key))
    changed.name = request.name
    return Decision(
        UpdateDataManagerResponse(),
        [Put(ASSET_DATA_MANAGER, changed.key, changed, new=False)],
        [NewEvent(ASSET_DATA_MANAGER, EVENT_ASSET_UPDATED, changed.key, changed)],
    )


# ------------------------------------------------------------------ data samples
def register_data_samples_needs(
    request: RegisterDataSamplesParam, known: Known, needs: Needs
) -> None:
    for sample in request.samples:
        needs.new(ASSET_DATA_SAMPLE, sample.key)
        needs.document(ASSET_DATA_MANAGER, *sample.data_manager_keys)


def register_data_samples(
    known: Known, caller: Caller, request: RegisterDataSamplesParam, now: Moment
) -> Decision:
    answer = RegisterDataSamplesResponse()
    decision = Decision(answer)
    keys: set[str] = set()
    for new in request.samples:
        _validate_sample(new)
        for manager in new.data_manager_keys:
            _own_manager(known, caller, manager)
        if new.key in keys or known.is_taken(ASSET_DATA_SAMPLE, new.key):
            raise Conflict(SAMPLE, new.key)
        keys.add(new.key)
        sample = DataSample(
            key=new.key,
            data_manager_keys=new.data_manager_keys,
            owner=caller.organization,
            checksum=new.checksum,
            creation_date=now.wire,
        )
        answer.data_samples.append(sample)
        decision.changes.append(Put(ASSET_DATA_SAMPLE, sample.key, sample))
        decision.events.append(NewEvent(ASSET_DATA_SAMPLE, EVENT_ASSET_CREATED, sample.key, sample))
    if keys:
        check_registered(known, caller)
    return decision


def update_data_samples_needs(request: UpdateDataSamplesParam, known: Known, needs: Needs) -> None:
    needs.document(ASSET_DATA_SAMPLE, *request.keys)
    needs.document(ASSET_DATA_MANAGER, *request.data_manager_keys)


def update_data_samples(
    known: Known, caller: Caller, request: UpdateDataSamplesParam, now: Moment
) -> Decision:
    """Link samples to more managers; links are never removed."""
    v.check(
        SAMPLE,
        {
            "keys": v.keys(request.keys) if request.keys else v.BLANK,
            "data_manager_keys": v.keys(request.data_manager_keys),
        },
    )
    for manager in request.data_manager_keys:
        _own_manager(known, caller, manager)
    changes: dict[str, Change] = {}
    events: list[NewEvent] = []
    for key in request.keys:
        changed = _own_sample(known, caller, key)
        linked = set(changed.data_manager_keys)
        added = [manager for manager in request.data_manager_keys if manager not in linked]
        _check_distinct(added)
        changed.data_manager_keys.extend(added)
        changes[key] = Put(ASSET_DATA_SAMPLE, key, changed, new=False)
        events.append(NewEvent(ASSET_DATA_SAMPLE, EVENT_ASSET_UPDATED, key, changed))
    return Decision(UpdateDataSamplesResponse(), list(changes.values()), events)


def _validate_sample(new: NewDataSample) -> None:
    v.check(
        SAMPLE,
        {
            "key": v.key(new.key),
            "data_manager_keys": v.keys(new.data_manager_keys),
            "checksum": v.checksum(new.checksum),
        },
    )
    _check_distinct(new.data_manager_keys)


def _check_distinct(managers: Iterable[str]) -> None:
    keys = list(managers)
    if len(set(keys)) != len(keys):
        raise Invalid(f"{SAMPLE} is not valid: data_manager_keys: must not repeat a key.")


def _own_manager(known: Known, caller: Caller, key: str) -> DataManager:
    manager = known.data_manager(key)
    if manager is None:
        raise NotFound(MANAGER, key)
    if manager.owner != caller.organization:
        raise Denied(f'organization "{caller.organization}" does not own data manager "{key}"')
    return manager


def _own_sample(known: Known, caller: Caller, key: str) -> DataSample:
    sample = known.data_sample(key)
    if sample is None:
        raise NotFound(SAMPLE, key)
    if sample.owner != caller.organization:
        raise Denied(f'organization "{caller.organization}" does not own data sample "{key}"')
    copy = DataSample()
    copy.CopyFrom(sample)
    return copy
