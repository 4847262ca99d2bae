"""All SQL about tokens."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select
from sqlmodel import Session

from backend.access.tokens.tables import BearerToken, ImplicitBearerToken
from backend.kit.columns import core

_IMPLICIT = core(ImplicitBearerToken)
_BEARER = core(BearerToken)


class TokenStore:
    """The tokens of one user."""

    def __init__(self, session: Session, user_id: int) -> None:
        self._connection = session.connection()
        self._user_id = user_id

    def add_implicit(self, key: str, id_: UUID, created: datetime) -> None:
        values = {"key": key, "id": id_, "user_id": self._user_id, "created": created}
        self._connection.execute(insert(_IMPLICIT).values(**values))

    def add(self, key: str, id_: UUID, created: datetime, expires_at: datetime, note: Any) -> None:
        values = {"key": key, "id": id_, "user_id": self._user_id, "created": created}
        query = insert(_BEARER).values(**values, expires_at=expires_at, note=note)
        self._connection.execute(query)

    def drop_implicit_before(self, moment: datetime) -> None:
        mine = _IMPLICIT.c.user_id == self._user_id
        self._connection.execute(delete(_IMPLICIT).where(mine, _IMPLICIT.c.created < moment))

    def drop_implicit(self) -> None:
        """All of them: they came from a password that is no longer the user's."""
        query = delete(_IMPLICIT).where(_IMPLICIT.c.user_id == self._user_id)
        self._connection.execute(query)

    def implicit(self) -> Sequence[Any]:
        """(id, created), newest first."""
        query = select(_IMPLICIT.c.id, _IMPLICIT.c.created)
        query = query.where(_IMPLICIT.c.user_id == self._user_id)
        return self._connection.execute(query.order_by(_IMPLICIT.c.created.desc())).all()

    def chosen(self) -> Sequence[Any]:
        """(id, note, expires_at, created), newest first."""
        columns = (_BEARER.c.id, _BEARER.c.note, _BEARER.c.expires_at, _BEARER.c.created)
        query = select(*columns).where(_BEARER.c.user_id == self._user_id)
        return self._connection.execute(query.order_by(_BEARER.c.created.desc())).all()

    def remove(self, id_: UUID) -> bool:
        """Whether a token of the user, of either family, was there."""
        removed = 0
        for table in (_IMPLICIT, _BEARER):
            mine = (table.c.user_id == self._user_id, table.c.id == id_)
            removed += self._connection.execute(delete(table).where(*mine)).rowcount
        return removed > 0
