"""Secrets of the cluster: labels `compute_plan=<tag>` and `index`, the key in the data field `key`."""

import base64
import re
from collections.abc import Iterator
from typing import Any, Self

_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


class KubernetesSecrets:
    """The Secrets of one namespace. The role needs `list` and `patch` of secrets there."""

    def __init__(self, api: Any, namespace: str) -> None:
        """`api` is a CoreV1Api."""
        self._api = api
        self._namespace = namespace

    @classmethod
    def in_cluster(cls, namespace: str) -> Self:
        """With the service account of this pod. Raises ConfigException outside of a cluster."""
        from kubernetes import client, config

        config.load_incluster_config()
        return cls(client.CoreV1Api(), namespace)

    def chainkeys(self, tag: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for secret in self._secrets(tag):
            key = (secret.data or {}).get("key")
            if key:
                found[secret.metadata.labels["index"]] = base64.b64decode(key)
        return found

    def erase(self, tag: str) -> None:
        for secret in self._secrets(tag):
            body = {"data": {"key": ""}}
            self._asked(
                self._api.patch_namespaced_secret, secret.metadata.name, self._namespace, body
            )

    def _secrets(self, tag: str) -> Iterator[Any]:
        if not _VALUE.fullmatch(tag):  # no label has such a value, and a selector would mean more
            return
        selector = f"compute_plan={tag},index"
        found = self._asked(
            self._api.list_namespaced_secret, self._namespace, label_selector=selector
        )
        yield from found.items

    def _asked(self, call: Any, *given: Any, **named: Any) -> Any:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return call(*given, **named)
        except (ApiException, HTTPError) as error:
            status = getattr(error, "status", None)
            raise OSError(f"the cluster does not give its secrets ({status or error})") from None
