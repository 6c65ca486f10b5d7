"""The table of films that were read wrongly, on small files made here."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.chest_files import chest_dataset, chest_file, chest_pixels

from cxr_reason.benchmarks import film_cases, film_peers

BITS = 12
PIXELS = chest_pixels(BITS, rows=112, columns=112)
TRUTH = np.rint(PIXELS * (65535 / 4095)).astype(np.uint16)


def make_file(pixels: np.ndarray = PIXELS, **values: Any) -> bytes:
    return chest_file(chest_dataset(pixels, BITS, **values))


def without_dcmtk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests be the same on every machine."""
    monkeypatch.setattr(film_peers.shutil, "which", lambda _: None)


@pytest.mark.parametrize(
    ("data", "flags", "truth"),
    [
        (make_file(), [], "as it is"),
        (
            make_file(PIXELS[:, ::-1].copy(), PatientOrientation=["R", "F"]),
            ["reoriented"],
            "as it is",
        ),
        (make_file(PatientOrientation=["F", "R"]), ["reoriented"], "turned by the header"),
        (
            make_file(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="IDENTITY"),
            ["looks_negative"],
            "as it is",
        ),
        (make_file(PixelAspectRatio=[2, 1]), ["pixels_not_square"], "as it is"),
        (make_file(WindowWidth=None, WindowCenter=None), ["window_estimated"], "window estimated"),
    ],
    ids=["plain", "mirrored", "turned", "identity", "aspect", "no window"],
)
def test_a_file_that_is_right(
    monkeypatch: pytest.MonkeyPatch, data: bytes, flags: list[str], truth: str
) -> None:
    without_dcmtk(monkeypatch)
    result = film_cases.measure_file(data, TRUTH)
    assert result["outcome"] == "read"
    assert set(flags) <= set(result["flags"])
    assert result["truth"] == truth
    assert result["greatest"] < 0.2


def test_agreement_with_highdicom(monkeypatch: pytest.MonkeyPatch) -> None:
    without_dcmtk(monkeypatch)
    result = film_cases.measure_file(make_file(), TRUTH)
    assert set(result["peers"]) == {"highdicom"}
    assert result["peers"]["highdicom"]["from_ours"] < 0.01
    assert result["peers"]["highdicom"]["from_truth"] < 0.2


@pytest.mark.skipif(not film_peers.read_dcmtk_version(), reason="DCMTK is not on PATH")
def test_agreement_with_dcmtk() -> None:
    result = film_cases.measure_file(make_file(), TRUTH)
    assert result["peers"]["dcm2pnm"]["from_ours"] < 0.2


def test_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without_dcmtk(monkeypatch)
    (tmp_path / "good.dcm").write_bytes(make_file())
    (tmp_path / "hand.dcm").write_bytes(make_file(BodyPartExamined="CANARY"))
    (tmp_path / "notes.md").write_text("no film")
    buffer = BytesIO()
    Image.fromarray(TRUTH).save(buffer, "PNG")
    for name in ("truth.png", "same.png"):
        (tmp_path / name).write_bytes(buffer.getvalue())
    target = tmp_path / "cases.json"
    monkeypatch.setattr("sys.argv", ["film_cases", str(tmp_path), "--json", str(target)])
    film_cases.main()
    shown = capsys.readouterr().out
    assert "CANARY" not in shown
    report = json.loads(target.read_text())
    assert report == json.loads(shown.splitlines()[-1])
    outcomes = {row["case"]: row["outcome"] for row in report["results"]}
    assert outcomes == {"good.dcm": "read", "hand.dcm": "refused", "same.png": "read"}
