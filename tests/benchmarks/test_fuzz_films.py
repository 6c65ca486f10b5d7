"""The command counts what its children do, and sees what they must not do."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

import pytest

from cxr_reason.benchmarks import film_trial, fuzz_films
from cxr_reason.benchmarks.film_seeds import CANARY, dicom_seeds, write
from cxr_reason.errors import UnreadableImageError

FILM = write(dicom_seeds()["explicit"])


def test_films_by_structure_are_counted(tmp_path: Path) -> None:
    row = fuzz_films.measure("structure", 20, 0, tmp_path)
    assert (row["films"], row["ours"], row["problems"]) == (20, 0, {})
    assert sum(row["outcomes"].values()) == 20


def test_films_by_coverage_are_counted(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is not installed; no extra brings it")
    row = fuzz_films.measure("coverage", 200, 0, tmp_path)
    assert (row["films"], row["problems"]) == (200, {})


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("act", "outcome", "problem"),
    [
        (lambda: fail(KeyError("x")), "untyped", "KeyError at"),
        (
            lambda: fail(UnreadableImageError("of canary^NAME")),
            "unreadable_image",
            "header text shown",
        ),
        (lambda: warnings.warn("x", stacklevel=1), None, "UserWarning at"),
        (lambda: logging.getLogger("any").warning("x"), None, "log record"),
    ],
)
def test_what_must_not_happen_is_seen(
    act: object, outcome: str | None, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = film_trial.decode_radiograph

    def decode_and_act(*args: object) -> object:
        assert callable(act)
        act()
        return decode(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(film_trial, "decode_radiograph", decode_and_act)
    trial = film_trial.try_film(FILM)
    assert trial.outcome == (outcome or "read")
    assert len(trial.problems) == 1
    assert trial.problems[0].startswith(problem)
    assert CANARY.decode() not in trial.problems[0]


def test_counts_outlive_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tally = fuzz_films.Tally(tmp_path, 500)
    for _ in range(100):
        tally.try_next(FILM)

    def crash(data: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fuzz_films, "try_film", crash)
    with pytest.raises(KeyboardInterrupt):
        tally.try_next(FILM[:-1])
    assert '"films": 100' in (tmp_path / "counts.json").read_text()
    assert os.path.getsize(tmp_path / "at_hand") == len(FILM) - 1
