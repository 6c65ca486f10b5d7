"""Checks arguments against the table of signatures."""

import json
from importlib.metadata import version
from pathlib import Path

RELEASE = version("tensorrt_llm")
TABLE = json.loads((Path(__file__).parents[1] / "signatures.json").read_text())


def bind(name, given):
    """Return the arguments with defaults filled in; refuse unknown and missing ones."""
    known = TABLE["arguments"][name]
    if unknown := set(given) - set(known):
        raise ValueError(f"{name} got invalid argument: {sorted(unknown)[0]}")
    values = {**known, **given}
    if missing := [key for key, value in values.items() if value == "required"]:
        raise TypeError(f"{name}: missing {missing}")
    return values


class Arguments:
    """Base of the classes that only hold arguments."""

    def __init__(self, *positional, **given):
        names = list(TABLE["arguments"][type(self).__name__])
        given |= dict(zip(names, positional, strict=False))
        self.__dict__.update(bind(type(self).__name__, given))
