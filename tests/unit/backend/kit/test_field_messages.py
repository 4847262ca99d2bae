"""What pydantic finds wrong, in the words that 1.0's clients show."""

from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel, StringConstraints, ValidationError

from backend.kit.exception_answers import field_messages


class Document(BaseModel):
    name: Annotated[str, StringConstraints(min_length=1, max_length=5)] = "x"
    keys: list[UUID] = []
    public: bool = False
    inputs: dict[str, str] = {}


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        ({"name": "abcdef"}, {"name": ["Ensure this field has no more than 5 characters."]}),
        ({"name": ""}, {"name": ["This field may not be blank."]}),
        ({"name": None}, {"name": ["This field may not be null."]}),
        ({"name": 5}, {"name": ["Not a valid string."]}),
        ({"keys": ["x"]}, {"keys": ["0: Must be a valid UUID."]}),
        ({"public": "perhaps"}, {"public": ["Must be a valid boolean."]}),
        ({"inputs": {"a": 1}}, {"inputs": ["a: Not a valid string."]}),
        (
            {"name": 5, "public": []},
            {"name": ["Not a valid string."], "public": ["Must be a valid boolean."]},
        ),
    ],
)
def test_messages_are_the_contract_s(
    fields: dict[str, Any], messages: dict[str, list[str]]
) -> None:
    with pytest.raises(ValidationError) as refused:
        Document.model_validate(fields)
    assert field_messages(refused.value.errors(include_url=False)) == messages
