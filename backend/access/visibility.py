"""The one door to what a caller may see: the assets of its channel.

Every query of assets that answers a request goes through `visible`: a lint test reads the sources for queries
that do not, and the test of all routes looks for keys of another channel in every answer. What a caller may
*have* of a visible asset, its files, is a question of permissions (rest-api.md 18) and asked after.
"""

from typing import Any

from sqlalchemy import ColumnElement


def visible(table: Any, channel: str | ColumnElement[str]) -> ColumnElement[bool]:
    """The condition that rows belong to a channel.

    `table`: a Core table or its columns. `channel`: a name, or the parameter of a prepared statement.
    """
    columns = getattr(table, "c", table)
    condition: ColumnElement[bool] = columns.channel == channel
    return condition
