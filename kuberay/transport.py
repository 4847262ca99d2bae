"""Requests to the API server, JSON in and out, over the `kubernetes` package's client.

That package brings kubeconfig files, in-cluster accounts, their rotating tokens and certificates; its models of
built-in kinds are not needed here, and custom resources have none.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import urllib3
from kubernetes import client, config

from kuberay.errors import KubeError, Unavailable, error_of

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML
_CONNECT_S = 10.0
_PIECE = 1 << 16


class Connection:
    """One API server, as one identity. May be shared between threads."""

    def __init__(self, api: Any, *, timeout_s: float = 30.0) -> None:
        """`api` is a `kubernetes.client.ApiClient`; `timeout_s` of silence ends a call."""
        self._api = api
        self._timeout_s = timeout_s

    @classmethod
    def from_kubeconfig(cls, path: str | None = None, context: str | None = None) -> Self:
        """As kubectl: the file, else $KUBECONFIG, else ~/.kube/config.

        Raises:
            KubeError: there is none, or it cannot be read.
        """
        try:
            return cls(config.new_client_from_config(config_file=path, context=context))
        except (config.ConfigException, OSError) as error:
            raise KubeError(f"no usable kubeconfig: {error}") from error

    @classmethod
    def in_cluster(cls) -> Self:
        """With the pod's service account. Raises KubeError outside of a pod."""
        configuration = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException as error:
            raise KubeError(f"not in a cluster: {error}") from error
        return cls(client.ApiClient(configuration))

    def close(self) -> None:
        """Close idle connections."""
        self._api.rest_client.pool_manager.clear()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
    ) -> dict[str, Any]:
        """One call; its JSON answer.

        Raises:
            KubeError: one of its kinds; see `errors`.
        """
        response = self._send(method, path, query, body, content_type, self._timeout_s)
        try:
            data = response.read()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"{method} {path}: {error}") from error
        return _object(data) or {}

    def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """An answer that is no JSON, such as a log; bytes that are no UTF-8 are replaced."""
        response = self._send("GET", path, query, None, JSON, self._timeout_s, accept="*/*")
        try:
            return bytes(response.read()).decode("utf-8", "replace")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"GET {path}: {error}") from error

    @contextmanager
    def lines(
        self, path: str, query: Mapping[str, str], silence_s: float
    ) -> Iterator[Iterator[dict[str, Any]]]:
        """The objects of a stream, one JSON text a line, until the server ends it.

        A stream that breaks off ends like one that the server ended; `silence_s` without a byte is an end too.
        """
        response = self._send("GET", path, query, None, JSON, silence_s)
        try:
            yield _objects(response.response)
        finally:
            response.response.close()

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        content_type: str,
        read_s: float,
        accept: str = JSON,
    ) -> Any:
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = content_type
        serialized = self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = self._api.call_api(*serialized, _request_timeout=(_CONNECT_S, read_s))
        except (urllib3.exceptions.HTTPError, client.ApiException, OSError) as error:
            raise Unavailable(f"{method} {path}: {error}") from error
        if response.status >= 400:
            try:
                answer = _object(response.read())
            except (urllib3.exceptions.HTTPError, OSError):
                answer = None
            raise error_of(response.status, answer or {})
        return response


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _objects(response: Any) -> Iterator[dict[str, Any]]:
    rest = b""
    try:
        for piece in response.stream(_PIECE):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                value = _object(line)
                if value is not None:
                    yield value
    except (urllib3.exceptions.HTTPError, OSError):
        return
