"""A small client of the OCI distribution protocol: manifests and configurations, with any usual log-in.

Everything that a registry says is checked against the digest by which it was asked for, and bounded in size.
"""

import base64
import hashlib
import json
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
MOST_BYTES = 4 << 20  # of a manifest or configuration
TIMEOUT_S = 30.0
PIECE = 1 << 18
BINARY = "application/octet-stream"
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


class RegistryRefused(Exception):
    """The registry does not give us this: credentials, permissions, or an answer that is none."""


class RegistryUnavailable(OSError):
    """No answer, overloaded, or not scanned yet (Harbor's 412): to be tried again."""


@dataclass(frozen=True, slots=True)
class ImageFound:
    """An image of one platform. `digest` is `sha256:…` of `manifest`, its exact bytes."""

    repository: str
    digest: str
    media_type: str
    manifest: bytes

    @property
    def config_digest(self) -> str:
        return str(json.loads(self.manifest)["config"]["digest"])


@dataclass(frozen=True, slots=True)
class Login:
    """What a `.dockerconfigjson` says for one registry."""

    username: str
    password: str

    @classmethod
    def from_docker_config(cls, path: Path, registry: str) -> Self | None:
        """The entry whose key is the registry, with or without a scheme.

        Raises:
            ValueError: the file is no Docker configuration.
        """
        entries = json.loads(path.read_text("utf-8")).get("auths", {})
        for name, entry in entries.items():
            if name.removeprefix("https://").removeprefix("http://").rstrip("/") != registry:
                continue
            if "auth" in entry:
                user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
                return cls(user, password)
            return cls(str(entry["username"]), str(entry["password"]))
        return None


class Registry:
    """One registry, `host` or `host:port`. Thread-safe; logs in when it is asked to."""

    def __init__(
        self,
        host: str,
        *,
        scheme: str = "https",
        login: Login | None = None,
        authority: Path | None = None,
    ) -> None:
        self._login = login
        self._tokens: dict[str, str] = {}
        verify: bool | ssl.SSLContext = True
        if authority is not None:
            verify = ssl.create_default_context(cafile=str(authority))
        self._client = httpx.Client(
            base_url=f"{scheme}://{host}/v2/", timeout=TIMEOUT_S, verify=verify
        )

    def close(self) -> None:
        self._client.close()

    def image(self, repository: str, reference: str) -> ImageFound | None:
        """What a tag or digest names; None when there is no such thing.

        Raises:
            RegistryUnavailable, RegistryRefused: it could not be found out.
        """
        answer = self._get(repository, f"{repository}/manifests/{reference}")
        if answer is None:
            return None
        content, media_type = answer
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if _DIGEST.match(reference) and digest != reference:
            raise RegistryRefused(f"{repository}: another manifest than {reference}")
        if media_type not in MANIFEST_TYPES:
            raise RegistryRefused(f"{repository}: {media_type} is no image of one platform")
        return ImageFound(repository, digest, media_type, content)

    def config(self, image: ImageFound) -> dict[str, Any]:
        """The image's configuration: entry point, environment, user.

        Raises:
            RegistryUnavailable, RegistryRefused: it could not be read, or has another digest.
        """
        digest = image.config_digest
        answer = self._get(image.repository, f"{image.repository}/blobs/{digest}")
        if answer is None:
            raise RegistryRefused(f"{image.repository}: its configuration is missing")
        content = answer[0]
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
            raise RegistryRefused(f"{image.repository}: another configuration than {digest}")
        found = json.loads(content).get("config")
        return found if isinstance(found, dict) else {}

    def has_blob(self, repository: str, digest: str) -> bool:
        """Whether a layer or configuration is there. Raises as `image`."""
        answer = self._send("HEAD", repository, f"{repository}/blobs/{digest}")
        return answer.status_code != 404

    @contextmanager
    def blob(self, repository: str, digest: str) -> Iterator[Iterator[bytes]]:
        """The bytes of a layer or configuration, as they come; who takes them compares the digest.

        Raises:
            RegistryUnavailable, RegistryRefused: it is not to be had, or breaks off.
        """
        self.has_blob(repository, digest)  # logs in where that is needed
        headers = self._headers(repository)
        try:
            with self._client.stream(
                "GET", f"{repository}/blobs/{digest}", headers=headers, follow_redirects=True
            ) as answer:
                if answer.status_code != 200:
                    raise RegistryRefused(f"{repository}: no {digest}: {answer.status_code}")
                yield answer.iter_raw(PIECE)
        except httpx.HTTPError as error:
            raise RegistryUnavailable(f"a blob broke off ({type(error).__name__})") from error

    def push_blob(self, repository: str, digest: str, path: Path) -> None:
        """Upload a layer or configuration, whose digest the registry checks. Raises as `image`."""
        begun = self._send("POST", repository, f"{repository}/blobs/uploads/")
        place = self._client.base_url.join(begun.headers.get("location", ""))
        if place.host != self._client.base_url.host:
            raise RegistryRefused(f"{repository}: the registry sends us elsewhere to upload")
        headers = {"Content-Length": str(path.stat().st_size), "Content-Type": BINARY}
        with path.open("rb") as file:
            self._send(
                "PUT",
                repository,
                str(place.copy_merge_params({"digest": digest})),
                headers,
                content=iter(lambda: file.read(PIECE), b""),
            )

    def push_manifest(self, repository: str, digest: str, manifest: bytes) -> None:
        """Make an image of blobs that are there, under its digest. Raises as `image`."""
        kind = json.loads(manifest).get("mediaType") or MANIFEST_TYPES[0]
        path = f"{repository}/manifests/{digest}"
        self._send("PUT", repository, path, {"Content-Type": kind}, content=manifest)

    # ------------------------------------------------------------------ inside
    def _send(
        self,
        method: str,
        repository: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        content: Iterator[bytes] | bytes | None = None,
    ) -> httpx.Response:
        """A call without an answer's body; logs in where the registry wants that."""
        try:
            given = {**self._headers(repository), **(headers or {})}
            answer = self._client.request(method, path, headers=given, content=content)
            if answer.status_code == 401 and not isinstance(content, Iterator):
                self._log_in(repository, answer.headers.get("www-authenticate", ""))
                given |= self._headers(repository)
                answer = self._client.request(method, path, headers=given, content=content)
        except httpx.HTTPError as error:
            reason = type(error).__name__
            raise RegistryUnavailable(f"the registry cannot be reached ({reason})") from error
        if answer.status_code == 429 or answer.status_code >= 500:
            raise RegistryUnavailable(f"{repository}: the registry answers {answer.status_code}")
        if answer.status_code >= 300 and not (
            method == "HEAD" and answer.status_code in (307, 404)
        ):
            raise RegistryRefused(f"{repository}: the registry answers {answer.status_code}")
        return answer

    def _headers(self, repository: str) -> dict[str, str]:
        token = self._tokens.get(repository)
        return {} if token is None else {"Authorization": token}

    def _get(self, repository: str, path: str) -> tuple[bytes, str] | None:
        try:
            answer = self._ask(repository, path)
            if answer.status_code == 401:
                self._log_in(repository, answer.headers.get("www-authenticate", ""))
                answer = self._ask(repository, path)
        except httpx.HTTPError as error:
            reason = type(error).__name__
            raise RegistryUnavailable(f"the registry cannot be reached ({reason})") from error
        if answer.status_code == 404:
            return None
        if answer.status_code in (412, 429) or answer.status_code >= 500:
            raise RegistryUnavailable(f"{repository}: the registry answers {answer.status_code}")
        if answer.status_code != 200:
            raise RegistryRefused(f"{repository}: the registry answers {answer.status_code}")
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        return answer.content, media_type

    def _ask(self, repository: str, path: str) -> httpx.Response:
        headers = {"Accept": ", ".join((*MANIFEST_TYPES, "*/*"))}
        if repository in self._tokens:
            headers["Authorization"] = self._tokens[repository]
        request = self._client.build_request("GET", path, headers=headers)
        # Blobs may lie elsewhere; the log-in does not go along to another host.
        answer = self._client.send(request, stream=True, follow_redirects=True)
        try:
            content = b""
            for piece in answer.iter_bytes():
                content += piece
                if len(content) > MOST_BYTES:
                    raise RegistryRefused(
                        f"{repository}: an answer of more than {MOST_BYTES} bytes"
                    )
        finally:
            answer.close()
        return httpx.Response(answer.status_code, headers=_kept(answer.headers), content=content)

    def _log_in(self, repository: str, challenge: str) -> None:
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic" and self._login is not None:
            self._tokens[repository] = _basic(self._login)
        elif kind.lower() == "bearer":
            self._tokens[repository] = f"Bearer {self._token(repository, rest)}"
        else:
            raise RegistryRefused(f"{repository}: the registry wants credentials")

    def _token(self, repository: str, rest: str) -> str:
        asked = dict(_CHALLENGE.findall(rest))
        realm = asked.get("realm", "")
        if not realm.startswith("https://") and httpx.URL(realm).host != self._client.base_url.host:
            raise RegistryRefused(f"{repository}: the registry sends us elsewhere to log in")
        headers = {} if self._login is None else {"Authorization": _basic(self._login)}
        scope = asked.get("scope") or f"repository:{repository}:pull"
        answer = self._client.get(
            realm, params={"service": asked.get("service", ""), "scope": scope}, headers=headers
        )
        if answer.status_code != 200:
            raise RegistryRefused(f"{repository}: the log-in answers {answer.status_code}")
        found = answer.json()
        return str(found.get("token") or found.get("access_token") or "")


def _kept(headers: httpx.Headers) -> dict[str, str]:
    return {name: headers[name] for name in ("content-type", "www-authenticate") if name in headers}


def _basic(login: Login) -> str:
    text = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
    return f"Basic {text}"
