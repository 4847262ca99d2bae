"""Requests made up from the OpenAPI document, sensible and senseless, and what is wrong with the answers."""

import random
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

Operation = APIOperation[Any, Any, Any, Any]
Request = Case[Any]
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ENDLESS = "/stream/"  # an answer that ends with its task
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
# What would end the callers' own accounts, and with them the rest of the run.
SPARED = {"org-1", "org-1-yourchannel"}


@dataclass
class Fuzzer:
    """`known`: keys of assets that exist, so that not every request ends at an unknown key."""

    document: dict[str, Any]
    url: str
    known: list[UUID]
    token: str
    requests: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        schema = schemathesis.openapi.from_dict(self.document)
        operations = [
            result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)
        ]
        self._operations = [one for one in operations if not one.path.endswith(ENDLESS)]
        self._session = requests.Session()

    def once(self, *, examples: int, first_seed: int = 0, credentials: bool = True) -> None:
        """Every operation, both kinds of requests; the same requests for the same seed."""
        for operation in self._operations:
            for mode in MODES:
                self._ask(operation, mode, examples, first_seed, credentials)

    def until(self, end: float) -> None:
        """Again and again with other seeds, to a moment of time.monotonic()."""
        numbers = iter(range(random.SystemRandom().getrandbits(32), 2**63))
        while time.monotonic() < end:
            for operation in random.sample(self._operations, len(self._operations)):
                if time.monotonic() > end:
                    return
                number = next(numbers)
                for mode in MODES:
                    self._ask(operation, mode, 20, number, number % 4 != 0)

    def _ask(
        self, operation: Operation, mode: GenerationMode, examples: int, number: int, user: bool
    ) -> None:
        choose = random.Random(number)

        @seed(number)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Request) -> None:
            self._place_key(case, choose)
            self._send(case, user)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                ask()
            except schemathesis.errors.InvalidSchema:
                raise
            except Exception as error:
                if "negative" in str(error).lower() or "Unsatisfiable" in type(error).__name__:
                    return  # nothing to be got wrong in this operation
                raise

    def _place_key(self, case: Request, choose: random.Random) -> None:
        if "key" in (case.path_parameters or {}) and choose.random() < 0.6:
            case.path_parameters["key"] = str(choose.choice(self.known))

    def _send(self, case: Request, user: bool) -> None:
        if str((case.path_parameters or {}).get("username")) in SPARED:
            return
        case.headers.pop("Authorization", None)
        case.cookies.pop("signature", None)
        headers = {"Authorization": f"Token {self.token}"} if user else {}
        try:
            response = case.call(self.url, session=self._session, headers=headers, timeout=60)
        except (UnicodeError, requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL):
            return  # nothing that a client can send
        self.requests += 1
        status = response.status_code
        self.statuses[status] = self.statuses.get(status, 0) + 1
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                name = f"{case.operation.label}: {type(failure).__name__} ({status})"
                sent = case.as_curl_command({})[:1500]
                answer = response.content[:300].decode("utf-8", "replace")
                self.problems.setdefault(name, f"{failure}\n{sent}\n-> {answer}")

    def report(self) -> str:
        return "\n\n".join(f"{name}\n{text}" for name, text in self.problems.items())


def known_keys(document: Any) -> Iterator[UUID]:
    """Every key in a list's answer."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name.endswith("key") and isinstance(value, str):
                yield UUID(value)
            yield from known_keys(value)
    elif isinstance(document, list):
        for value in document:
            yield from known_keys(value)
