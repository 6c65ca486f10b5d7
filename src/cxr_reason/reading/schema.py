"""The published JSON schema of a `Reading`, from the dataclasses themselves.

python -m cxr_reason.reading.schema > docs/reading.schema.json
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import types
import typing
from typing import Any, Literal, Union

from cxr_reason.reading.reading import DISCLAIMER, SCHEMA, Reading

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_ATTRIBUTE = re.compile(r"^ {4,8}(?P<name>\w+): (?P<text>.*)$")


def make_schema() -> dict[str, Any]:
    """Return the JSON schema of what `Reading.to_json` writes."""
    definitions: dict[str, Any] = {}
    schema = _describe_class(Reading, definitions)
    constants = {"schema": {"const": SCHEMA}, "disclaimer": {"const": DISCLAIMER}}
    schema["properties"] = {**constants, **schema["properties"]}
    schema["required"] = [*constants, *schema["required"]]
    return {"$schema": _DIALECT, "title": SCHEMA, **schema, "$defs": definitions}


def _describe_class(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    docstring = cls.__doc__ or ""
    meanings = _read_attributes(docstring)
    names = [field.name for field in dataclasses.fields(cls)]
    return {
        "type": "object",
        "description": docstring.partition("\n")[0],
        "properties": {
            name: {"description": meanings[name], **_describe(hints[name], definitions)}
            for name in names
        },
        "required": names,  # `to_json` writes every field
        "additionalProperties": False,
    }


def _describe(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_describe(argument, definitions) for argument in arguments]}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _describe(arguments[0], definitions)}
    if origin is tuple:
        items = [_describe(argument, definitions) for argument in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "items": False}
    assert dataclasses.is_dataclass(hint), hint
    assert isinstance(hint, type)
    if hint.__name__ not in definitions:
        definitions[hint.__name__] = _describe_class(hint, definitions)
    return {"$ref": f"#/$defs/{hint.__name__}"}


def _read_attributes(docstring: str) -> dict[str, str]:
    """Return the meanings in the part `Attributes:` of a docstring."""
    meanings: dict[str, str] = {}
    name = ""
    for line in docstring.partition("Attributes:\n")[2].splitlines():
        if not line.strip():
            break
        indent = len(line) - len(line.lstrip())
        match = _ATTRIBUTE.match(line) if indent <= 8 else None
        if match:
            name = match["name"]
            meanings[name] = match["text"]
        else:
            meanings[name] += " " + line.strip()
    return meanings


if __name__ == "__main__":
    sys.stdout.write(json.dumps(make_schema(), indent=2) + "\n")
