"""The OpenID provider: its endpoints, and the calls to it.

Authlib makes the requests and validates the claims; answers are believed only after the signature was verified
with the one algorithm that the settings name. All calls block, none holds a transaction.
"""

import time
from dataclasses import dataclass
from threading import Lock
from typing import Any

import httpx
import structlog
from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OctKey

from backend.access.oidc.attempts import Attempt
from backend.settings import Settings

log = structlog.get_logger(__name__)
WELL_KNOWN = "/.well-known/openid-configuration"
FRESH_S = 3600.0  # how long endpoints and keys are believed
KEYS_AGAIN_S = 10.0  # an unknown key is looked up again at most this often
LEEWAY_S = 30


class ProviderError(Exception):
    """The provider cannot be asked at the moment; a later try may succeed."""


class ProviderRefused(Exception):
    """The provider said no, or said something that must not be believed."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    issuer: str
    authorization: str
    token: str
    userinfo: str
    jwks: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signed on; `refresh_token` is None when the provider gave none."""

    issuer: str
    subject: str
    email: str
    refresh_token: str | None


class Provider:
    """One organization's provider. Thread-safe; asks nothing before it is needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._timeout = settings.OIDC_TIMEOUT or settings.HTTP_CLIENT_TIMEOUT_SECONDS
        self._lock = Lock()
        self._endpoints: tuple[float, Endpoints] | None = None
        self._keys: tuple[float, KeySet] | None = None

    # ------------------------------------------------------------------ the browser's way
    def authorization_url(self, attempt: Attempt, redirect_uri: str) -> str:
        """Where the browser signs on.

        Raises:
            ProviderError: the endpoints cannot be discovered.
        """
        endpoints = self._known_endpoints()
        with self._http() as http:
            address, _ = self._client(http, redirect_uri).create_authorization_url(
                endpoints.authorization,
                state=attempt.state,
                nonce=attempt.nonce,
                code_verifier=attempt.verifier,
            )
        return str(address)

    def redeem(self, code: str, attempt: Attempt, redirect_uri: str) -> Identity:
        """Who stands behind the code that the browser brought back.

        Raises:
            ProviderRefused: the code, the id token or a claim in it is wrong.
            ProviderError: the provider cannot be asked.
        """
        endpoints = self._known_endpoints()
        token = self._asked(
            redirect_uri,
            lambda client: client.fetch_token(
                endpoints.token,
                auth=self._basic(),
                grant_type="authorization_code",
                code=code,
                code_verifier=attempt.verifier,
            ),
        )
        claims = self._verified(token, attempt.nonce)
        return Identity(
            issuer=str(claims["iss"]),
            subject=str(claims["sub"]),
            email=self._email(claims, token),
            refresh_token=_text(token.get("refresh_token")),
        )

    def renew(self, refresh_token: str, subject: str) -> str:
        """Whether a user still may sign on, asked without its browser: the next refresh token.

        Raises:
            ProviderRefused: no longer, or the answer is about somebody else.
            ProviderError: the provider cannot be asked.
        """
        endpoints = self._known_endpoints()
        token = self._asked(
            None,
            lambda client: client.refresh_token(
                endpoints.token, refresh_token=refresh_token, auth=self._basic()
            ),
        )
        if "id_token" in token and self._verified(token, None)["sub"] != subject:
            raise ProviderRefused("another subject")
        return _text(token.get("refresh_token")) or refresh_token

    # ------------------------------------------------------------------ requests
    def _client(self, http: httpx.Client, redirect_uri: str | None) -> Any:
        scopes = ["openid", "email"]
        if self._settings.OIDC_USERS_USE_REFRESH_TOKEN:
            scopes.append("offline_access")
        return OAuth2Client(
            http,
            client_id=self._settings.OIDC_RP_CLIENT_ID,
            client_secret=self._settings.OIDC_RP_CLIENT_SECRET,
            scope=" ".join(scopes),
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
        )

    def _basic(self) -> httpx.BasicAuth:
        settings = self._settings
        return httpx.BasicAuth(settings.OIDC_RP_CLIENT_ID, settings.OIDC_RP_CLIENT_SECRET)

    def _http(self) -> httpx.Client:
        return httpx.Client(timeout=self._timeout, follow_redirects=False)

    def _asked(self, redirect_uri: str | None, ask: Any) -> dict[str, Any]:
        try:
            with self._http() as http:
                return dict(ask(self._client(http, redirect_uri)))
        except AuthlibBaseError as error:
            raise ProviderRefused(error.error) from None
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            kind = ProviderError if status >= 500 or status == 429 else ProviderRefused
            raise kind(f"HTTP {status}") from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise ProviderError(type(error).__name__) from None

    def _json(self, url: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        try:
            with self._http() as http:
                answer = http.get(url, headers=headers)
                answer.raise_for_status()
                content = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            log.warning("provider_unreachable", url=url, error=repr(error))
            raise ProviderError(type(error).__name__) from None
        if not isinstance(content, dict):
            raise ProviderError("no JSON object")
        return content

    def _email(self, claims: dict[str, Any], token: dict[str, Any]) -> str:
        """From the id token, else from the user endpoint, whose answer counts only for the same subject."""
        email = claims.get("email")
        userinfo = self._known_endpoints().userinfo
        if not email and userinfo and token.get("access_token"):
            headers = {"Authorization": f"Bearer {token['access_token']}"}
            found = self._json(userinfo, headers)
            if found.get("sub") != claims["sub"]:
                raise ProviderRefused("the user endpoint answered for another subject")
            email = found.get("email")
        return email[:254] if isinstance(email, str) else ""

    # ------------------------------------------------------------------ what to believe
    def _verified(self, token: dict[str, Any], nonce: str | None) -> dict[str, Any]:
        """The claims of the id token, signature and all checked."""
        text = token.get("id_token")
        if not isinstance(text, str):
            raise ProviderRefused("no id token")
        issuer = self._known_endpoints().issuer
        client_id = self._settings.OIDC_RP_CLIENT_ID
        try:
            signed = self._decoded(text)
            claims = CodeIDToken(
                signed.claims,
                signed.header,
                options={
                    "iss": {"essential": True, "values": [issuer, issuer + "/"]},
                    "aud": {"essential": True, "value": client_id},
                    "sub": {"essential": True},
                    "exp": {"essential": True},
                },
                params={
                    "nonce": nonce,
                    "client_id": client_id,
                    "access_token": token.get("access_token"),
                },
            )
            claims.validate(now=int(time.time()), leeway=LEEWAY_S)
        except (JoseError, AuthlibBaseError, ValueError, TypeError) as error:
            raise ProviderRefused(f"id token: {type(error).__name__}: {error}") from None
        if len(str(claims["sub"])) > 255:
            raise ProviderRefused("subject too long")
        return dict(claims)

    def _decoded(self, text: str) -> Any:
        algorithms = [self._settings.OIDC_RP_SIGN_ALGO]
        if self._settings.OIDC_RP_SIGN_ALGO == "HS256":
            key = OctKey.import_key(self._settings.OIDC_RP_CLIENT_SECRET)
            return jwt.decode(text, key, algorithms=algorithms)
        try:
            return jwt.decode(text, self._known_keys(FRESH_S), algorithms=algorithms)
        except (JoseError, ValueError):  # the provider may have a new key since
            return jwt.decode(text, self._known_keys(KEYS_AGAIN_S), algorithms=algorithms)

    def _known_keys(self, fresh_s: float) -> KeySet:
        with self._lock:
            kept = self._keys
        if kept is not None and time.monotonic() - kept[0] < fresh_s:
            return kept[1]
        keys = KeySet.import_key_set(self._json(self._known_endpoints().jwks))  # type: ignore[arg-type]
        with self._lock:
            self._keys = (time.monotonic(), keys)
        return keys

    def _known_endpoints(self) -> Endpoints:
        with self._lock:
            kept = self._endpoints
        if kept is not None and time.monotonic() - kept[0] < FRESH_S:
            return kept[1]
        endpoints = self._discovered()
        with self._lock:
            self._endpoints = (time.monotonic(), endpoints)
        return endpoints

    def _discovered(self) -> Endpoints:
        """What the settings say, completed by what the provider says of itself."""
        settings, base = self._settings, self._settings.OIDC_OP_URL.rstrip("/")
        given = (
            settings.OIDC_OP_AUTHORIZATION_ENDPOINT,
            settings.OIDC_OP_TOKEN_ENDPOINT,
            settings.OIDC_OP_JWKS_URI or settings.OIDC_RP_SIGN_ALGO == "HS256",
        )
        said = {} if all(given) else self._json(base + WELL_KNOWN)
        endpoints = Endpoints(
            issuer=str(said.get("issuer", base)).rstrip("/"),
            authorization=given[0] or str(said.get("authorization_endpoint", "")),
            token=given[1] or str(said.get("token_endpoint", "")),
            userinfo=settings.OIDC_OP_USER_ENDPOINT or str(said.get("userinfo_endpoint", "")),
            jwks=settings.OIDC_OP_JWKS_URI or str(said.get("jwks_uri", "")),
        )
        if not (endpoints.authorization and endpoints.token):
            raise ProviderError("the provider names no endpoints")
        return endpoints


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
