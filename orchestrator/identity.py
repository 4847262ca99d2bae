"""Who calls, in which channel: the headers of every request (orchestrator.md 2.2, in the order of 2.4)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.errors import BadRequest, ChannelHeader, ChannelRefused

Channels = Mapping[str, frozenset[str]]
"""Members (organization ids) of each channel."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An organization acting in one channel."""

    organization: str
    channel: str


def members(channels: Mapping[str, Sequence[str]]) -> Channels:
    return {name: frozenset(organizations) for name, organizations in channels.items()}


def identify(metadata: Iterable[tuple[str, str | bytes]] | None, channels: Channels) -> Caller:
    """The caller that the headers name.

    Raises:
        BadRequest: `mspid` is not given exactly once.
        ChannelHeader: `channel` is not given exactly once.
        ChannelRefused: the organization is unknown, or no member of the channel.
    """
    organizations: list[str] = []
    names: list[str] = []
    for key, value in metadata or ():
        if key == "mspid":
            organizations.append(_text(value))
        elif key == "channel":
            names.append(_text(value))
    if len(organizations) != 1:
        raise BadRequest(
            "could not extract the organization id: header mspid must be given exactly once"
        )
    if len(names) != 1:
        raise ChannelHeader(
            "could not extract the channel: header channel must be given exactly once"
        )
    organization, channel = organizations[0], names[0]
    if organization in channels.get(channel, ()):
        return Caller(organization, channel)
    if not any(organization in known for known in channels.values()):
        raise ChannelRefused(f'organization "{organization}" is unknown')
    raise ChannelRefused(f'organization "{organization}" has no access to channel "{channel}"')


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
