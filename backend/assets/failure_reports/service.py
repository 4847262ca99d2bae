"""Logs of failures: whose they are and who may read them (rest-api.md 17)."""

from backend.access.caller import Caller
from backend.assets.downloads import Download, check_permitted
from backend.assets.failure_reports import store
from backend.kit.errors import Gone, NotFound
from backend.kit.keys import checked_key
from backend.node import Node

TEXT = "text/plain; charset=utf-8"


class LogDownloads:
    def __init__(self, node: Node, caller: Caller) -> None:
        self._node = node
        self._caller = caller

    def of_task(self, text: str) -> Download:
        """The log that explains a task: its own, or its function's when the build failed.

        Raises:
            BadRequest: malformed key (400). NotFound: unknown task (404).
            PermissionDenied: 403. Gone: there is no log (410).
        """
        key = checked_key(text)
        with self._node.database.reading() as connection:
            log = store.log_of_task(connection, self._caller.channel, key)
        if log is None:
            raise NotFound.of("ComputeTask")
        return self._permitted(log, str(key))

    def of_asset(self, text: str) -> Download:
        """The log of a task or function, as its report's address names it.

        Raises:
            NotFound: no report with a log (404). Others as `of_task`.
        """
        key = checked_key(text)
        with self._node.database.reading() as connection:
            log = store.log_of_asset(connection, self._caller.channel, key)
        if log is None:
            raise NotFound.of("AssetFailureReport")
        return self._permitted(log, str(key))

    def _permitted(self, log: store.Log, name: str) -> Download:
        check_permitted(self._caller, public=log.public, authorized_ids=log.authorized_ids)
        if log.owner is None:
            raise Gone
        local = None
        if log.owner == self._node.own:
            with self._node.database.reading() as connection:
                local = store.file_of(connection, log.asset)
        return Download(
            owner=log.owner,
            path=f"logs/{log.asset}/file/",
            name=f"tuple_logs_{name}.txt",
            checksum=log.checksum,
            local=local,
            media_type=TEXT,
        )
