"""The command `cxr-reason`. Each word is a module, imported when it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from cxr_reason import __version__
from cxr_reason.cli.process import interruptible, run

# Word → the function, or the group of words, that it runs.
_WORDS = {
    "build": "cxr_reason.cli.build:build",
    "verify": "cxr_reason.cli.verify:verify",
    "read": "cxr_reason.cli.read:read",
    "serve": "cxr_reason.cli.serve:serve",
    "gateway": "cxr_reason.cli.gateway:gateway",
    "evaluate": "cxr_reason.cli.evaluate:evaluate",
    "calibrate": "cxr_reason.cli.calibrate:calibrate",
    "train": "cxr_reason.cli.train:app",
}
# Measurements run from a clone: they are not part of the wheel.
if importlib.util.find_spec("cxr_reason.benchmarks") is not None:
    _WORDS["bench"] = "cxr_reason.benchmarks.cli:app"


class _Words(TyperGroup):
    """Loads a word when it is asked for."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = dict.fromkeys(_WORDS)  # type: ignore[assignment]  # names, for typer's hint

    def list_commands(self, ctx: Any) -> list[str]:
        return [*_WORDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _WORDS:
            return None
        module, _, name = _WORDS[cmd_name].partition(":")
        found = getattr(importlib.import_module(module), name)
        if not isinstance(found, typer.Typer):
            function, found = found, typer.Typer(add_completion=False)
            found.command(cmd_name)(function)
        command = typer.main.get_command(found)
        command.name = cmd_name
        _escape_help(command)
        return command

    def invoke(self, ctx: Any) -> Any:
        with interruptible():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Words,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Read chest radiographs with a reasoning model. Research use only; not a medical device.",
)


@app.callback(invoke_without_command=True)
def _show_version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"cxr-reason {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the command `cxr-reason`."""
    run(app, arguments)


def _escape_help(command: Any) -> None:
    """Let rich print brackets in help as they are: `[default: 4096]` is not markup."""
    command.help = escape(command.help or "")
    for parameter in command.params:
        if getattr(parameter, "help", None):
            parameter.help = escape(parameter.help)
    for inner in getattr(command, "commands", {}).values():
        _escape_help(inner)
