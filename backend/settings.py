"""Settings of one organization: names of deployment.md section 15, read from the environment or a file."""

import json
from pathlib import Path
from secrets import token_urlsafe
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class ChannelSettings(BaseModel):
    restricted: bool = False
    model_export_enabled: bool = False
    weight: float = Field(default=1.0, gt=0)  # its share of the runners, beside other channels


class PeerSettings(BaseModel):
    """How to reach another organization, and the secrets of both directions (rest-api.md 19)."""

    url: str
    outgoing: str = Field(repr=False)
    incoming: str = Field(repr=False)


class UserSettings(BaseModel):
    """An account provisioned at start (deployment.md 6.2)."""

    username: str
    password: str = Field(repr=False)
    channel: str
    role: str = "ADMIN"


class Settings(BaseSettings):
    """One organization. The settings file is JSON with the same (upper-case) names, mode 0600 (rule 18)."""

    model_config = SettingsConfigDict(extra="ignore", populate_by_name=True)

    # identity and addresses
    NAME: str = "org-1"  # short name: URL prefix, user, CLI
    ORG_NAME: str = "default"
    MSP_ID: str = ""
    CHANNELS: Annotated[dict[str, ChannelSettings], NoDecode] = Field(default_factory=dict)
    DEFAULT_DOMAIN: str = "http://127.0.0.1:8000"
    SUBPATH: str = ""
    PEERS: dict[str, PeerSettings] = Field(default_factory=dict)  # by MSP id, own id included
    USERS: list[UserSettings] = Field(default_factory=list)
    COMMON_HOST_DOMAIN: str | None = None
    TRUSTED_PROXIES: int = 0
    CORS_ORIGIN_WHITELIST: list[str] = Field(default_factory=list)
    CORS_ALLOW_CREDENTIALS: bool = False
    BACKEND_VERSION: str = "dev"
    ISOLATED: bool = False
    # secrets
    # Signs tokens and encrypts stored secrets. Unset: random, so all of them end with the process.
    SECRET_KEY: str = Field(default_factory=lambda: token_urlsafe(64), repr=False)
    # The one before it, while it is being replaced: what it signed and encrypted stays good (docs/upgrade.md).
    SECRET_KEY_PREVIOUS: str = Field(default="", repr=False)
    # database
    DATABASE_URL: str | None = Field(default=None, repr=False)
    DATABASE_DATABASE: str = "backend"
    DATABASE_USERNAME: str = "backend"
    DATABASE_PASSWORD: str = Field(default="backend", repr=False)
    DATABASE_HOSTNAME: str = "localhost"
    DATABASE_PORT: int = 5432
    # ledger
    ORCHESTRATOR_HOST: str = "127.0.0.1"
    ORCHESTRATOR_PORT: int = 9000
    ORCHESTRATOR_TLS_ENABLED: bool = False
    ORCHESTRATOR_MTLS_ENABLED: bool = False
    ORCHESTRATOR_TLS_SERVER_CACERT_PATH: Path | None = None
    ORCHESTRATOR_TLS_CLIENT_CERT_PATH: Path | None = None
    ORCHESTRATOR_TLS_CLIENT_KEY_PATH: Path | None = None
    ORCHESTRATOR_GRPC_KEEPALIVE_TIME_MS: int = 60_000
    ORCHESTRATOR_GRPC_KEEPALIVE_TIMEOUT_MS: int = 20_000
    ORCHESTRATOR_GRPC_KEEPALIVE_PERMIT_WITHOUT_CALLS: bool = False
    ORCHESTRATOR_GRPC_KEEPALIVE_MAX_PINGS_WITHOUT_DATA: int = 0
    # limits and tokens
    DEFAULT_THROTTLE_RATES: int = 40
    PAGINATION_MAX_PAGE_SIZE: int = 10_000
    DATA_UPLOAD_MAX_SIZE: int = 1024**3
    EXPIRY_TOKEN_ENABLED: bool = True
    EXPIRY_TOKEN_LIFETIME: int = 1440
    ACCESS_TOKEN_LIFETIME: int = 1440  # minutes, of the front end's session
    REFRESH_TOKEN_LIFETIME: int = 10_080
    PASSWORD_MINIMUM_LENGTH: int = 20  # of passwords that users choose; never of provisioned ones
    HTTP_CLIENT_TIMEOUT_SECONDS: int = 30
    # single sign-on (endpoints that are not given are discovered below OIDC_OP_URL)
    OIDC_ENABLED: bool = False
    OIDC_RP_CLIENT_ID: str = ""
    OIDC_RP_CLIENT_SECRET: str = Field(default="", repr=False)
    OIDC_RP_SIGN_ALGO: Literal["RS256", "HS256"] = "RS256"
    OIDC_OP_URL: str = ""
    OIDC_OP_DISPLAY_NAME: str = ""
    OIDC_OP_AUTHORIZATION_ENDPOINT: str = ""
    OIDC_OP_TOKEN_ENDPOINT: str = ""
    OIDC_OP_USER_ENDPOINT: str = ""
    OIDC_OP_JWKS_URI: str = ""
    OIDC_USERS_APPEND_DOMAIN: bool = False
    OIDC_USERS_DEFAULT_CHANNEL: str | None = None
    OIDC_USERS_MUST_BE_APPROVED: bool = False
    OIDC_USERS_LOGIN_VALIDITY_DURATION: int = 3600  # seconds
    OIDC_USERS_USE_REFRESH_TOKEN: bool = False
    OIDC_TIMEOUT: int | None = None  # seconds; unset: HTTP_CLIENT_TIMEOUT_SECONDS
    # files
    MEDIA_ROOT: Path = Path("/var/substra/medias")  # this organization's own folder
    SERVERMEDIAS_ROOT: Path = Path("/var/substra/servermedias")
    ENABLE_DATASAMPLE_STORAGE_IN_SERVERMEDIAS: bool = False
    GZIP_MODELS: bool = False
    # object store: any S3; unset, files lie below MEDIA_ROOT (docs/storage.md)
    OBJECTSTORE_URL: str = ""  # http(s)://host:port, or host:port as Substra 1.0 had it
    OBJECTSTORE_ACCESSKEY: str = Field(default="", repr=False)
    OBJECTSTORE_SECRETKEY: str = Field(default="", repr=False)
    OBJECTSTORE_CREDENTIALS_FOLDER: Path | None = None  # a mounted Secret with these two names
    OBJECTSTORE_BUCKET: str = "substra"
    OBJECTSTORE_PREFIX: str = ""
    OBJECTSTORE_REGION: str = ""  # unset: the store is asked
    OBJECTSTORE_PATH_STYLE: bool | None = None  # unset: names of buckets in hosts on AWS only
    OBJECTSTORE_CA_PATH: Path | None = None
    OBJECTSTORE_PART_BYTES: int = Field(default=16 << 20, ge=5 << 20, le=1 << 30)  # of uploads
    # function images of a cluster (docs/images.md)
    REGISTRY: str = ""  # host:port
    REGISTRY_SCHEME: Literal["http", "https"] = "https"
    REGISTRY_DOCKER_CONFIG: Path | None = None  # our own log-in: a config.json of Docker's
    REGISTRY_CA_PATH: Path | None = None
    USER_IMAGE_REPOSITORY: str = "substra/user-image"
    KANIKO_IMAGE: str = "gcr.io/kaniko-project/executor:v1.24.0"
    KANIKO_ARGUMENTS: list[str] = Field(default_factory=list)
    KANIKO_RESOURCES: dict[str, Any] = Field(default_factory=dict)  # of BuildKit's too, as the next
    KANIKO_MIRROR: bool = False
    KANIKO_DOCKER_CONFIG_SECRET_NAME: str = ""  # in the builds' namespace, as the next ones
    BUILDKIT_IMAGE: str = "docker.io/moby/buildkit:v0.34.2-rootless"
    BUILDKIT_ARGUMENTS: list[str] = Field(default_factory=list)  # of buildctl build
    BUILDKIT_SECURITY: dict[str, Any] = Field(default_factory=dict)  # profiles; unset: unconfined
    BUILDER_PULL_SECRET_NAME: str = ""
    BUILDER_CA_SECRET_NAME: str = ""  # its files are authorities for pulls and pushes
    BUILDER_NAMESPACE: str = ""
    BUILDER_CONTEXT_IMAGE: str = ""  # this product's
    BUILDER_NODE_SELECTOR: dict[str, str] = Field(default_factory=dict)
    BUILDER_TOLERATIONS: list[dict[str, Any]] = Field(default_factory=list)
    BUILDER_KANIKO_STARTUP_MAX_ATTEMPTS: int = Field(default=60, ge=1)
    BUILDER_KANIKO_STARTUP_PENDING_STATE_WAIT_SECONDS: int = Field(default=2, ge=1)
    # compute
    BUILDER_ENABLED: bool = False
    BUILDER_CONCURRENCY: int = 1
    BUILDER: Literal["embedded", "kaniko", "buildkit"] = "embedded"
    IMAGE_BUILD_TIMEOUT: int = Field(default=3600, ge=0)
    IMAGE_SAVING_TIMEOUT_SECONDS: int = Field(default=0, ge=0)  # 0 = none, as all time limits
    TASK_TIMEOUT: int = Field(default=0, ge=0)  # seconds
    TASK_STAGING_TIMEOUT: int = Field(default=0, ge=0)  # seconds to bring inputs and image here
    TASK_RETRIES: int = Field(default=4, ge=0)  # after internal failures only
    TASK_RETRY_BACKOFF_MAX: int = Field(default=60, ge=0)  # seconds; the first pause is one
    TASK_LOG_RETENTION: int = Field(default=7 * 86_400, ge=0)  # seconds, of successes; 0: not kept
    WORKERS: int = 2
    # pods of a cluster instead of runners (docs/kuberay.md)
    COMPUTE: Literal["runners", "kuberay"] = "runners"
    COMPUTE_NAMESPACE: str = ""
    COMPUTE_CLUSTER: str = ""  # the RayCluster's name
    COMPUTE_DASHBOARD_URL: str = ""  # unset: its head's Service
    COMPUTE_POD: dict[str, Any] = Field(default_factory=dict)  # compute/cluster/options.py
    COMPUTE_GROUPS: int = Field(default=20, ge=1)  # function images at once
    COMPUTE_PODS: int = Field(default=4, ge=1)  # of one function image
    COMPUTE_WARM_PODS: int = Field(default=0, ge=0)  # of each, that served nobody yet
    COMPUTE_SESSION_IDLE_S: float = Field(
        default=10.0, gt=0
    )  # a pod waits for its plan's next task
    COMPUTE_IDLE_TIMEOUT_S: int = Field(default=60, ge=1)  # Ray's, of pods without a session
    # keys for plans with a tag (docs/operations.md)
    TASK_CHAINKEYS_ENABLED: bool = False
    CHAINKEYS_FOLDER: Path | None = None  # unset: Secrets of the cluster
    K8S_SECRET_NAMESPACE: str = "default"  # noqa: S105
    ORGANIZATION_INDEX: str = ""  # functions read it as a variable of that name
    # what this site has for tasks, and what one of them gets (docs/compute.md); 0: see there
    MACHINE_SHARED_BY: int = Field(
        default=1, ge=1
    )  # organizations, each of which has its part of it
    CPUS: float = Field(default=0, ge=0)
    MEMORY_BYTES: int = Field(default=0, ge=0)
    GPUS: float = Field(default=0, ge=0)
    TASK_CPUS: float = Field(default=0, ge=0)
    TASK_MEMORY_BYTES: int = Field(default=0, ge=0)
    TASK_GPUS: float = Field(default=0, ge=0)
    TASK_CPUS_MAX: float = Field(default=0, ge=0)
    TASK_MEMORY_BYTES_MAX: int = Field(default=0, ge=0)
    TASK_GPUS_MAX: float = Field(default=0, ge=0)
    PRIORITY_MAX: int = Field(default=2, ge=-5, le=5)  # of plans of our administrators
    PRIORITY_MAX_FOREIGN: int = Field(default=0, ge=-5, le=5)  # of other organizations' plans
    # what a function may use up, and the runners' zygotes (docs/isolation.md); 0: no limit
    FUNCTION_PROCESSES: int = Field(default=4096, ge=0)
    FUNCTION_FILE_BYTES: int = Field(default=0, ge=0)  # of one file
    FUNCTION_OUTPUT_BYTES: int = Field(default=100 << 30, ge=0)  # of a task's outputs together
    FUNCTION_SHARED_MEMORY_BYTES: int = Field(default=1 << 30, ge=1 << 16)  # its /dev/shm
    FUNCTION_DISK_RESERVE_BYTES: int = Field(default=512 << 20, ge=0)  # left to the machine
    FUNCTION_LOG_HEAD_BYTES: int = Field(default=1 << 20, ge=0, le=1 << 30)
    FUNCTION_LOG_TAIL_BYTES: int = Field(default=1 << 20, ge=0, le=1 << 26)
    ZYGOTES: int = Field(default=4, ge=1)
    ZYGOTES_MEMORY_BYTES: int = Field(default=2 << 30, ge=1)
    ZYGOTES_IDLE_S: float = Field(default=900.0, gt=0)
    RUN_FOLDER: Path = Path("/tmp/substra-ray")  # noqa: S108  short private folder: sockets, zygotes, task folders
    RUNNER_API_URL: str = (
        "http://127.0.0.1:8000"  # where runners exchange leases: the plain uvicorn
    )
    RUN_ENVIRONMENT: dict[str, str] = Field(default_factory=dict)  # rule 42
    LOG_LEVEL: str = "INFO"
    # sizes in bytes, 0: no limit; what is in use stays (docs/compute.md)
    CACHE_MAX_BYTES: int = Field(default=100 << 30, ge=0)  # foreign models, unpacked samples
    IMAGES_MAX_BYTES: int = Field(default=50 << 30, ge=0)  # layers and unpacked images
    PACKAGES_MAX_BYTES: int = Field(default=10 << 30, ge=0)  # the builder's package cache
    ENABLE_METRICS: bool = True
    # for administrators: name, address
    RAY_DASHBOARDS: dict[str, str] = Field(default_factory=dict)
    RAY_TOKEN_PATH: Path | None = None  # with Ray's token, for these
    METRICS_TOKEN: str = Field(default="", repr=False)  # unset: for this machine's processes only

    @field_validator("SECRET_KEY")
    @classmethod
    def _secret_key(cls, value: str) -> str:
        """An empty key would let everybody sign tokens: it counts as unset."""
        return value or token_urlsafe(64)

    @field_validator("CHANNELS", mode="before")
    @classmethod
    def _channels(cls, value: Any) -> Any:
        """Both forms of the contract: `[{"a": {}}, {"b": {}}]` and `{"a": {}, "b": {}}`, or their JSON."""
        if isinstance(value, str):
            value = json.loads(value)
        if isinstance(value, list):
            return {name: options for entry in value for name, options in entry.items()}
        return value

    @model_validator(mode="after")
    def _single_sign_on(self) -> Self:
        """New users either join a channel or wait for approval: one of the two, never both."""
        if self.OIDC_ENABLED:
            if bool(self.OIDC_USERS_DEFAULT_CHANNEL) == self.OIDC_USERS_MUST_BE_APPROVED:
                message = "OIDC_USERS_DEFAULT_CHANNEL or OIDC_USERS_MUST_BE_APPROVED: set one"
                raise ValueError(message)
            if not (self.OIDC_OP_URL and self.OIDC_RP_CLIENT_ID):
                raise ValueError("OIDC_ENABLED needs OIDC_OP_URL and OIDC_RP_CLIENT_ID")
        return self

    @model_validator(mode="after")
    def _builds_in_the_cluster(self) -> Self:
        if self.BUILDER != "embedded":
            needed = ("REGISTRY", "BUILDER_NAMESPACE", "BUILDER_CONTEXT_IMAGE", "OBJECTSTORE_URL")
            missing = [name for name in needed if not getattr(self, name)]
            if missing:
                raise ValueError(f"BUILDER={self.BUILDER} needs {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _tasks_in_pods(self) -> Self:
        if self.COMPUTE == "kuberay":
            needed = ("COMPUTE_NAMESPACE", "COMPUTE_CLUSTER", "OBJECTSTORE_URL", "REGISTRY")
            missing = [name for name in needed if not getattr(self, name)]
            if missing or not self.COMPUTE_POD.get("runner_image"):
                raise ValueError(f"COMPUTE=kuberay needs {', '.join([*missing, 'COMPUTE_POD'])}")
            if self.TASK_CHAINKEYS_ENABLED:
                raise ValueError("pods have no chainkeys: TASK_CHAINKEYS_ENABLED")
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """Settings from a JSON file; what it does not name comes from the environment."""
        return cls(**json.loads(path.read_text("utf-8")))

    @property
    def database_url(self) -> str:
        if self.DATABASE_URL:
            return self.DATABASE_URL
        return (
            f"postgresql+psycopg2://{self.DATABASE_USERNAME}:{self.DATABASE_PASSWORD}"
            f"@{self.DATABASE_HOSTNAME}:{self.DATABASE_PORT}/{self.DATABASE_DATABASE}"
        )

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The keys whose signatures count, the one that signs first."""
        return tuple(key for key in (self.SECRET_KEY, self.SECRET_KEY_PREVIOUS) if key)

    @property
    def prefix(self) -> str:
        """`/org-1`, or empty: the path below which every route but none else lies."""
        trimmed = self.SUBPATH.strip("/")
        return f"/{trimmed}" if trimmed else ""

    def address(self, path: str) -> str:
        """The registered address of a file: DEFAULT_DOMAIN + path (rule 26)."""
        return self.DEFAULT_DOMAIN.rstrip("/") + "/" + path.lstrip("/")
