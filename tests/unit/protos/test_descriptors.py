"""The compiled descriptors against the tables of orchestrator.md 1.2, kept as text in `wire.txt`."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto

WIRE = Path(__file__).with_name("wire.txt").read_text(encoding="utf-8")
EXPECTED = {
    block.split("\n", 1)[0].strip(): block.rstrip().split("\n")[1:]
    for block in WIRE.split("\nfile ")[1:]
}
TYPES = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_FLOAT: "float",
}


def _file(name: str) -> FileDescriptor:
    descriptor: FileDescriptor = import_module(f"protos.orchestrator.{name}_pb2").DESCRIPTOR
    return descriptor


def _type(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        if field.message_type.GetOptions().map_entry:
            key, value = field.message_type.fields
            return f"map<{_type(key)}, {_type(value)}>"
        return field.message_type.full_name.removeprefix("orchestrator.")
    if field.enum_type is not None:
        return field.enum_type.name
    return TYPES[field.type]


def _field(field: FieldDescriptor) -> str:
    label = ""
    if field.containing_oneof is not None:
        label = f" oneof {field.containing_oneof.name}"
    elif field.is_repeated and not _type(field).startswith("map<"):
        label = " repeated"
    return f"  {field.number} {field.name} {_type(field)}{label}"


def _reserved(numbers: list[int], names: list[str]) -> Iterator[str]:
    if numbers:
        yield "  reserved " + " ".join(map(str, numbers))
        yield "  reserved " + " ".join(names)


def _message(message: Descriptor) -> Iterator[str]:
    yield f"message {message.name}"
    yield from map(_field, sorted(message.fields, key=lambda field: field.number))
    proto = DescriptorProto()
    message.CopyToProto(proto)
    numbers = [n for given in proto.reserved_range for n in range(given.start, given.end)]
    yield from _reserved(numbers, list(proto.reserved_name))


def _method(method: MethodDescriptor) -> str:
    notes = ""
    if method.server_streaming:
        notes = " server streaming"
    if method.GetOptions().deprecated:
        notes = " marked deprecated"
    names = [
        t.full_name.removeprefix("orchestrator.") for t in (method.input_type, method.output_type)
    ]
    return f"  {method.name} {names[0]} {names[1]}{notes}"


def _render(file: FileDescriptor) -> Iterator[str]:
    for enum in file.enum_types_by_name.values():
        yield f"enum {enum.name}"
        yield from (f"  {value.number} {value.name}" for value in enum.values)
        proto = EnumDescriptorProto()
        enum.CopyToProto(proto)
        numbers = [n for given in proto.reserved_range for n in range(given.start, given.end + 1)]
        yield from _reserved(numbers, list(proto.reserved_name))
    for message in file.message_types_by_name.values():
        yield from _message(message)
    for service in file.services_by_name.values():
        yield f"service {service.name}"
        yield from map(_method, service.methods)


def _sections(lines: list[str]) -> dict[str, set[str]]:
    """Header line to the lines below it, without regard to the order in which a file declares things."""
    sections: dict[str, set[str]] = {}
    for line in lines:
        if not line.startswith("  "):
            section = sections[line] = set()
        else:
            section.add(line)
    return sections


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_file_is_wire_identical(name: str) -> None:
    assert _sections(list(_render(_file(name)))) == _sections(EXPECTED[name])


def test_the_whole_wire_is_covered() -> None:
    rendered = [line for name in EXPECTED for line in _render(_file(name))]
    services = [line for line in rendered if line.startswith("service ")]
    messages = [line for line in rendered if line.startswith("message ")]
    assert (len(EXPECTED), len(services), len(messages)) == (14, 13, 94)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_file_has_the_package_and_plain_proto3_presence(name: str) -> None:
    file = _file(name)
    assert file.package == "orchestrator"
    optional = [
        field.full_name
        for message in file.message_types_by_name.values()
        for field in message.fields
        if field.has_presence and field.message_type is None and field.containing_oneof is None
    ]
    assert optional == []
