"""The settings of a reading as options of a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

from cxr_reason.settings import (
    DEFAULTS,
    SETTINGS,
    TEMPERATURE_OF_ONE_TRACE,
    TEMPERATURE_OF_SEVERAL_TRACES,
)


def with_reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return `command` with an option for each setting, in place of its argument `settings`.

    Args:
        command: Takes the values of the options as the mapping `settings`.
    """

    def run(**values: Any) -> None:
        settings = {name: values.pop(name) for name in SETTINGS}
        command(**values, settings=settings)

    hints = get_type_hints(command, include_extras=True)
    kept = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
        if name != "settings"
    ]
    parameters = [*kept, *map(_make_option, SETTINGS)]
    # Typer reads a command's options from its signature and its annotations.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def _make_option(name: str) -> inspect.Parameter:
    setting = SETTINGS[name]
    help_text = f"{setting.meaning[0].upper()}{setting.meaning[1:]}: {setting.allowed}."
    show_default: bool | str = True
    if name == "temperature":
        show_default = (
            f"{TEMPERATURE_OF_ONE_TRACE:g}, with several traces {TEMPERATURE_OF_SEVERAL_TRACES:g}"
        )
    option = typer.Option(help=help_text, show_default=show_default)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=DEFAULTS[name] if DEFAULTS[name] != "" else None,
        annotation=Annotated[setting.kind | None, option],
    )
