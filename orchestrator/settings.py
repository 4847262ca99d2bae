"""Settings of a ledger process: the original's variables (orchestrator.md 12.2), command line first."""

from pathlib import Path

import yaml
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="ORCHESTRATOR_")

    DATABASE_URL: str
    CHANNEL_CONFIG: Path
    LISTEN: str = "0.0.0.0:9000"
    REPLAY_EVENTS_BATCH_SIZE: int = 100


class ChannelFileError(ValueError):
    """The channel file says something else than `channels: {name: [organization ids]}`."""


def read_channels(path: Path) -> dict[str, list[str]]:
    """Members of each channel, from the channel file.

    Raises:
        ChannelFileError: with the reason.
        OSError: the file cannot be read.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ChannelFileError(f"{path}: {error}") from None
    channels = content.get("channels") if isinstance(content, dict) else None
    if not isinstance(channels, dict):
        raise ChannelFileError(f"{path}: no mapping `channels`")
    checked: dict[str, list[str]] = {}
    for name, organizations in channels.items():
        if not isinstance(name, str) or not isinstance(organizations, list):
            raise ChannelFileError(f"{path}: channel {name!r} is not a list of organization ids")
        if not all(isinstance(one, str) and one for one in organizations):
            raise ChannelFileError(f"{path}: channel {name!r} has a member that is no text")
        checked[name] = organizations
    return checked
