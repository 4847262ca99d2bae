"""Who calls, in which channel: the headers of every request (orchestrator.md 2.2, in the order of 2.4)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.channels import Channels
from orchestrator.errors import BadRequest, ChannelHeader, ChannelRefused

if TYPE_CHECKING:
    from orchestrator.tls.material import Credentials

Authentication = Mapping[str, Iterable[bytes]]
"""gRPC's authentication context of a connection."""
Metadata = Iterable[tuple[str, str | bytes]] | None


@dataclass(frozen=True, slots=True)
class Caller:
    """An organization acting in one channel."""

    organization: str
    channel: str


def identify(
    metadata: Metadata, channels: Channels, vouch: Callable[[str], None] = lambda organization: None
) -> Caller:
    """The caller that the headers name; `vouch` raises for an organization that the caller is not.

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
    vouch(organizations[0])
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


class Identities:
    """Whom the ledger knows at the moment. `channels` is replaced as a whole when its file changes."""

    def __init__(self, channels: Channels, certificates: "Credentials | None" = None) -> None:
        """With `certificates`, a call's certificate must speak for the organization that it names."""
        self.channels = channels
        self._certificates = certificates

    def caller(self, metadata: Metadata, authentication: Callable[[], Authentication]) -> Caller:
        """Who calls; `authentication` gives the connection's authentication context.

        Raises:
            Refusal
        """
        if self._certificates is None:
            return identify(metadata, self.channels)
        from orchestrator.tls.msp import verify  # loads the certificate library

        material = self._certificates.material
        return identify(
            metadata,
            self.channels,
            lambda organization: verify(organization, authentication(), material),
        )
