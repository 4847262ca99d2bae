"""Query parameters as every list reads them: the last value of a repeated name wins (rest-api.md 6.1)."""

from collections.abc import Mapping

from fastapi import Request

from backend.kit.errors import Invalid

Parameters = Mapping[str, str]


def query_parameters(request: Request) -> Parameters:
    """Name → last value.

    The SDK repeats its parameters when it follows `next`, so repetitions are neither merged nor refused.

    Raises:
        Invalid: a value holds a NUL, which PostgreSQL's text cannot (400).
    """
    parameters = dict(request.query_params.multi_items())
    for name, value in parameters.items():
        if "\0" in value or "\0" in name:
            raise Invalid({name.replace("\0", ""): ["Null characters are not allowed."]})
    return parameters


def listed(parameters: Parameters, name: str) -> list[str]:
    """The comma list of a parameter; empty when it is absent or empty (no filter)."""
    value = parameters.get(name, "")
    return [part.strip() for part in value.split(",") if part.strip()]
