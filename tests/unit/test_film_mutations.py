"""Films with something wrong are read or refused by a typed error, and say nothing of the header.

`benchmarks/fuzz_films.py` runs the same by the ten thousand.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from cxr_reason.benchmarks.film_mutations import dicom_bytes, raster_bytes
from cxr_reason.benchmarks.film_seeds import (
    CANARY,
    SeedFilm,
    dicom_seeds,
    element,
    raster_seeds,
    write,
)
from cxr_reason.benchmarks.film_trial import has_canary, try_film
from cxr_reason.film.header import READ
from cxr_reason.film.radiograph import decode_radiograph

few = settings(
    max_examples=300,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("film", dicom_seeds().values(), ids=dicom_seeds())
def test_seeds_are_read(film: SeedFilm) -> None:
    data = write(film)
    assert film.is_deflated or data.count(CANARY) > 10
    assert try_film(data) == ("read", ())
    assert set(decode_radiograph(data).info.flags) <= {"encoding_repaired"}


@pytest.mark.parametrize("data", raster_seeds().values(), ids=raster_seeds())
def test_raster_seeds_are_read(data: bytes) -> None:
    assert try_film(data) == ("read", ())


@few
@given(dicom_bytes())
def test_dicom_with_something_wrong(data: bytes) -> None:
    assert try_film(data).problems == ()


@few
@given(raster_bytes())
def test_raster_with_something_wrong(data: bytes) -> None:
    assert try_film(data).problems == ()


@pytest.mark.parametrize("blank", [b"\x1f", b"\n", b"\t", b"\x0b", b"\x1c", b" "])
@pytest.mark.parametrize("keyword", READ)
def test_a_name_between_blanks_is_not_repeated(keyword: str, blank: bytes) -> None:
    """pydicom's name of a UID that it does not know is the UID, without its blanks."""
    film = dicom_seeds()["explicit"]
    name = element(keyword, blank + CANARY + blank, "LO")
    elements = [one for one in film.elements if one.tag != name.tag]
    elements = sorted([*elements, name], key=lambda one: one.tag)
    trial = try_film(write(replace(film, elements=tuple(elements))))
    assert trial.problems == ()


def test_nothing_reaches_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """Native decoders write to the file descriptors, past Python."""
    for film in dicom_seeds().values():
        data = write(film)
        for cut in (700, len(data) // 2, len(data) - 9):
            try_film(data[:cut])
    for data in raster_seeds().values():
        try_film(data[: len(data) // 2])
    out, err = capfd.readouterr()
    assert not has_canary(out + err)
