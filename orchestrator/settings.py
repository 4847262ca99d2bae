"""Settings of a ledger process: the original's variables (orchestrator.md 12.2), command line first."""

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestrator.database import URL_WANTED, is_url
from orchestrator.tls.paths import TlsPaths

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
LAST_PORT = 65_535
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def _seconds(value: Any) -> Any:
    """`30s`, `1m30s`, `500ms`: durations as the original writes them."""
    if not isinstance(value, str):
        return value
    if not re.fullmatch(rf"(?:{_PART.pattern})+", value):
        raise ValueError("a duration such as 30s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))


def _address(value: str) -> str:
    if not re.fullmatch(r"[^\s/]+:\d{1,5}", value) or int(value.rpartition(":")[2]) > LAST_PORT:
        raise ValueError(f'give an address such as 127.0.0.1:9000, not "{value}"')
    return value


def _database_url(value: str) -> str:
    if not is_url(value):
        raise ValueError(URL_WANTED)  # never the value: it may hold a password
    return value


Address = Annotated[str, AfterValidator(_address)]
"""HOST:PORT."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="ORCHESTRATOR_", populate_by_name=True)

    DATABASE_URL: Annotated[str, AfterValidator(_database_url)] = Field(repr=False)
    CHANNEL_CONFIG: Path
    LISTEN: Address = "0.0.0.0:9000"
    TLS_ENABLED: bool = False
    TLS_CERT_PATH: Path | None = None
    TLS_KEY_PATH: Path | None = None
    MTLS_ENABLED: bool = False
    TLS_SERVER_CA_CERT: Path | None = None
    TLS_CLIENT_CA_CERT_DIR: Path | None = None
    VERIFY_CLIENT_MSP_ID: bool = False
    REPLAY_EVENTS_BATCH_SIZE: int = Field(default=100, ge=1, le=10_000)
    GRPC_KEEPALIVE_POLICY_MIN_TIME: Annotated[float, BeforeValidator(_seconds), Field(gt=0)] = 30.0
    GRPC_KEEPALIVE_POLICY_PERMIT_WITHOUT_STREAM: bool = False
    METRICS_ENABLED: bool = Field(default=False, validation_alias="METRICS_ENABLED")
    METRICS_LISTEN: Address = "0.0.0.0:8484"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.MTLS_ENABLED and not self.TLS_ENABLED:
            raise ValueError("ORCHESTRATOR_MTLS_ENABLED needs ORCHESTRATOR_TLS_ENABLED")
        if self.VERIFY_CLIENT_MSP_ID and not self.MTLS_ENABLED:
            raise ValueError("ORCHESTRATOR_VERIFY_CLIENT_MSP_ID needs ORCHESTRATOR_MTLS_ENABLED")
        needed = ["TLS_CERT_PATH", "TLS_KEY_PATH"] if self.TLS_ENABLED else []
        if self.MTLS_ENABLED:
            needed += ["TLS_SERVER_CA_CERT", "TLS_CLIENT_CA_CERT_DIR"]
        missing = [f"ORCHESTRATOR_{name}" for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"missing: {', '.join(missing)}")
        return self

    @property
    def tls(self) -> TlsPaths | None:
        """The files of TLS, None for plain connections."""
        if not self.TLS_ENABLED or self.TLS_CERT_PATH is None or self.TLS_KEY_PATH is None:
            return None
        if not self.MTLS_ENABLED:
            return TlsPaths(self.TLS_CERT_PATH, self.TLS_KEY_PATH)
        return TlsPaths(
            self.TLS_CERT_PATH,
            self.TLS_KEY_PATH,
            self.TLS_SERVER_CA_CERT,
            self.TLS_CLIENT_CA_CERT_DIR,
        )
