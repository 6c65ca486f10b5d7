"""Reading tables strictly: every problem is kept with its file and row, and raised at the end."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cxr_reason.errors import DataError

_NUM_SHOWN = 10
_Choice = TypeVar("_Choice", bound=str)


class RowError(Exception):
    """What is wrong with one row; the reader of the table adds where."""


class Problems:
    """Collects what is wrong with a data set, so that one run names it all."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, origin: str, what: str) -> None:
        """Keep one problem.

        Args:
            origin: File, and row where there is one.
            what: What is wrong there.
        """
        self._found.append(f"{origin}: {what}")

    def raise_if_any(self) -> None:
        """Raise the first ten and the count.

        Raises:
            DataError: There is at least one problem.
        """
        if not self._found:
            return
        lines = self._found[:_NUM_SHOWN]
        if len(self._found) > _NUM_SHOWN:
            lines.append(f"and {len(self._found) - _NUM_SHOWN} more")
        count = len(self._found)
        raise DataError(
            f"data: {count} problem{'s' if count > 1 else ''}; correct the files or leave the rows "
            "out:\n  " + "\n  ".join(lines)
        )


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        origin: Name of the file and number of the row; the header is row 1.
        cells: Text by column, only the columns that were asked for.
    """

    origin: str
    cells: dict[str, str]


def read_rows(path: Path, columns: Collection[str], problems: Problems) -> Iterator[Row]:
    """Yield the rows of a CSV file, plain or gzip, that have all the columns asked for.

    Rows may be shorter than the header (the box list of NIH ChestX-ray14 is) as long as those
    columns are there; a longer one is corrupt.

    Args:
        path: The table; `.gz` is decompressed.
        columns: Names of the columns that are needed.
        problems: Takes what is wrong with the file and with its rows.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    number = 1
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            if missing := [name for name in columns if name not in header]:
                problems.add(f"{path.name} row 1", f"columns missing: {', '.join(missing)}")
                return
            places = {name: header.index(name) for name in columns}
            for number, fields in enumerate(reader, start=2):
                origin = f"{path.name} row {number}"
                if not max(places.values()) < len(fields) <= len(header):
                    problems.add(origin, f"{len(fields)} fields; the header has {len(header)}")
                    continue
                yield Row(origin, {name: fields[at].strip() for name, at in places.items()})
    except FileNotFoundError:
        problems.add(path.name, "file missing")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        problems.add(f"{path.name} after row {number}", f"cannot be read: {error}")


def read_choice(text: str, choices: Mapping[str, _Choice | None], column: str) -> _Choice | None:
    """Return what a cell stands for; None where it is blank.

    Raises:
        RowError: The cell holds none of the choices.
    """
    if text and text not in choices:
        raise RowError(f"{column}: {text!r}; allowed are {', '.join(choices)} or blank")
    return choices.get(text)


def check_film(film: Path) -> Path:
    """Return the path of a film that is there and not empty.

    Raises:
        RowError: The file is missing or empty.
    """
    if not film.is_file():
        raise RowError(f"image missing: {film}")
    if film.stat().st_size == 0:
        raise RowError(f"image empty: {film}")
    return film
