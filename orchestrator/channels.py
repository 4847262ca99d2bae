"""The channel file: who is a member of which channel (orchestrator.md 12.2)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

Channels = Mapping[str, frozenset[str]]
"""Members (organization ids) of each channel."""

LENGTH = 100


class ChannelFileError(ValueError):
    """The channel file says something else than `channels: {name: [organization ids]}`."""


def members(channels: Mapping[str, Sequence[str]]) -> Channels:
    return {name: frozenset(organizations) for name, organizations in channels.items()}


def read_channels(path: Path) -> dict[str, list[str]]:
    """Members of each channel, from the channel file.

    Raises:
        ChannelFileError: with the reason.
        OSError: the file cannot be read.
    """
    return parse_channels(path, path.read_bytes())


def parse_channels(path: Path, content: bytes) -> dict[str, list[str]]:
    """Members of each channel; `path` is named in refusals.

    Raises:
        ChannelFileError: with the reason.
    """
    try:
        read = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ChannelFileError(f"{path}: {error}") from None
    channels = read.get("channels") if isinstance(read, dict) else None
    if not isinstance(channels, dict):
        raise ChannelFileError(f"{path}: no mapping `channels`")
    checked: dict[str, list[str]] = {}
    for name, organizations in channels.items():
        if not _is_name(name) or not isinstance(organizations, list):
            raise ChannelFileError(f"{path}: channel {name!r} is not a list of organization ids")
        if not all(_is_name(one) for one in organizations):
            raise ChannelFileError(f"{path}: channel {name!r} has a member that is no text")
        checked[name] = organizations
    return checked


def _is_name(value: object) -> bool:
    """Names travel in headers and fill columns of 100 characters."""
    return isinstance(value, str) and 0 < len(value) <= LENGTH and value.isprintable()
