"""`cxr-reason train`: prepare data, train the vision tower, then SFT and GRPO."""

from __future__ import annotations

import importlib

import typer

from cxr_reason.extras import require

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Train a model of your own. See training/README.md.",
)
# The module that a word runs has options of its own, and prints their help itself.
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(context_settings=_PASS_ON)
def prepare(ctx: typer.Context) -> None:
    """Read films of a release, or draw synthetic ones, into a prepared data set."""
    _run("prepare", ctx.args)


@app.command(context_settings=_PASS_ON)
def vision(ctx: typer.Context) -> None:
    """Pretrain a random vision tower on prepared films."""
    _run("pretrain_vision", ctx.args)


@app.command(context_settings=_PASS_ON)
def sft(ctx: typer.Context) -> None:
    """Fine-tune on reasoning traces (TRL's SFT)."""
    _run("sft", ctx.args)


@app.command(context_settings=_PASS_ON)
def grpo(ctx: typer.Context) -> None:
    """Reinforce with verifiable rewards (TRL's GRPO)."""
    _run("grpo", ctx.args)


def _run(module: str, arguments: list[str]) -> None:
    require("train", what="train")
    importlib.import_module(f"cxr_reason.training.{module}").main(arguments)
