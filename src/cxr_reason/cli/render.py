"""A reading on a terminal and in a notebook."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderResult
from rich.jupyter import JupyterMixin
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cxr_reason.client.events import DoneEvent, Event, TextEvent
from cxr_reason.errors import CxrError, ServerError
from cxr_reason.film.flags import FLAGS
from cxr_reason.findings import LABELS
from cxr_reason.reading.audit import Evidence, Finding
from cxr_reason.reading.reading import DISCLAIMER, Reading
from cxr_reason.reading.trace import Section

_STYLES: dict[Section, str] = {"reasoning": "dim", "answer": "bold", "other": "default"}


class StreamPrinter:
    """Prints text as it comes, each section in its own style and on lines of its own.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._section: Section | None = None

    def add(self, event: TextEvent) -> None:
        """Print new text."""
        text = _strip_controls(event.text)
        if event.section != self._section:
            text = text.lstrip()
            if not text:
                return
            self.end()
            self._section = event.section
        self._console.print(
            text,
            end="",
            style=_STYLES[event.section],
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def end(self) -> None:
        """End the current line, if text was printed."""
        if self._section is not None:
            self._console.print()


def print_stream(console: Console, events: Iterable[Event]) -> Reading:
    """Print the text of a stream as it comes, then the reading, and return that.

    Raises:
        ServerError: The stream ended without a reading.
    """
    printer = StreamPrinter(console)
    reading = None
    try:
        for event in events:
            if isinstance(event, DoneEvent):
                reading = event.reading
            elif isinstance(event, TextEvent):
                printer.add(event)
    finally:
        printer.end()
    if reading is None:
        raise ServerError("the stream ended without a reading; ask again")
    print_reading(console, reading)
    return reading


def print_reading(console: Console, reading: Reading) -> None:
    """Print findings, outcome and what the user must know about it."""
    console.print(ReadingView(reading))


class ReadingView(JupyterMixin):
    """A reading as rich and Jupyter show it: as the last line of a cell, or with `rich.print`.

    Args:
        reading: What to show.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        reading = self._reading
        yield _findings_table(reading)
        yield Text(f"outcome  {reading.outcome}")
        for issue in reading.issues:
            yield Text(f"issue    {issue}", "yellow")
        for contradiction in reading.contradictions:
            yield Text(f"conflict {contradiction.label or 'film'}: {contradiction.kind}", "red")
        for alternatives in reading.differential:
            yield Text(f"open     {' or '.join(alternatives.findings)}")
        for flag in reading.film.flags if reading.film else ():
            yield Text(f"film     {FLAGS.get(flag, flag)}", "yellow")
        usage = reading.usage
        yield Text(
            f"tokens   {usage.prompt_tokens} in, {usage.completion_tokens} out; first after "
            f"{usage.time_to_first_token_s:.2f} s, last after {usage.generation_s:.2f} s",
            "dim",
        )
        if reading.provenance.model_notice:
            yield Text(f"model    {_strip_controls(reading.provenance.model_notice)}", "yellow")
        yield Text(DISCLAIMER, "bold")


def print_result(console: Console, name: str, result: Reading | CxrError) -> None:
    """Print the result of one of several films, as a line: its answer, or its error."""
    line = Text(_strip_controls(name), "bold", overflow="fold")
    if isinstance(result, Reading):
        labels = [finding.label for finding in result.findings if finding.in_answer]
        line.append(f"  {result.outcome}  ", "default")
        line.append(", ".join(labels), "default")
        for contradiction in result.contradictions:
            line.append(f"  conflict {contradiction.label or 'film'}: {contradiction.kind}", "red")
    else:
        line.append(f"  {type(result).__name__}: {_strip_controls(result.message)}", "red")
    console.print(line, soft_wrap=True)


def print_error(console: Console, error: CxrError) -> None:
    """Print an error with what to do about it."""
    title = type(error).__name__
    body = _strip_controls(error.message)
    console.print(Panel(_plain(body), title=title, title_align="left", border_style="red"))


def _findings_table(reading: Reading) -> Table:
    table = Table(caption="what the text says; a label that it does not name is not ruled out")
    table.add_column("finding")
    table.add_column("answer")
    table.add_column("reasoning")
    has_probability = any(finding.probability is not None for finding in reading.findings)
    if has_probability:
        table.add_column(f"share of {reading.provenance.num_traces} traces", justify="right")
    findings = {finding.label: finding for finding in reading.findings}
    for label in LABELS:
        finding = findings.get(label)
        in_answer = finding is not None and finding.in_answer
        stated = [_describe(item) for item in finding.evidence] if finding else []
        table.add_row(
            label,
            "present" if in_answer else "",
            "\n".join(dict.fromkeys(stated)),
            *([_share(finding)] if has_probability else []),
            style="bold" if in_answer else "default" if finding else "dim",
        )
    for name in reading.unknown_labels:
        table.add_row(_plain(_strip_controls(name)), "not one of the 14", "", style="yellow")
    return table


def _share(finding: Finding | None) -> str:
    return f"{finding.probability or 0.0:.2f}" if finding else ""


def _describe(evidence: Evidence) -> str:
    places = [place for place in (evidence.side, evidence.region) if place]
    return ", ".join([evidence.polarity, *places])


def _plain(text: str) -> str:
    """Text of a model or server is not markup."""
    return text.replace("[", r"\[")


def _strip_controls(text: str) -> str:
    """Text of a model or a server must not control the terminal."""
    return "".join(
        character
        for character in text
        if character in "\n\t" or unicodedata.category(character) != "Cc"
    )
