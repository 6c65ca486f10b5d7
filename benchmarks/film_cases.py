"""Films with one thing wrong each, of which the right picture is known, beside other software.

    python -m cxr_reason.benchmarks.film_cases FOLDER [--json FILE]

`FOLDER` holds DICOM, PNG and JPEG files of one film, and `truth.png`: the film upright and ready
for display, 16 bits. Of each file it prints the outcome, the flags or the refusal, and the greatest
and mean difference from the truth in steps of 8 bits, in what the model is given: both resized to
the same patches. Where a flag says that the picture is other than the truth by the header's word,
or by the rule for one that says nothing, the truth is changed in the same way: column `truth`.

Beside it stand highdicom and DCMTK's dcm2pnm, where they are installed: the greatest difference of
theirs from ours and, in brackets, from the truth, in the pixels as they are stored.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_reason.benchmarks.film_peers import PEERS, read_dcmtk_version
from cxr_reason.errors import CxrError
from cxr_reason.evaluation.result_line import describe_machine, make_report
from cxr_reason.film.display_table import identity_table
from cxr_reason.film.orientation import Orientation
from cxr_reason.film.radiograph import Radiograph, decode_radiograph
from cxr_reason.kernels.preprocess import PixelBudget, preprocess
from cxr_reason.kernels.preprocess.reference import unpatchify
from cxr_reason.reader.encoder import FilmPreprocessor

PACKAGES = ("highdicom", "imagecodecs", "numpy", "pillow", "pydicom")
TRUTH = "truth.png"
SUFFIXES = (".dcm", ".png", ".jpg", ".jpeg")
STEPS = 255.0  # of 8 bits, over the whole range

Pixels = NDArray[np.uint16]


def measure_file(data: bytes, truth: Pixels) -> dict[str, Any]:
    """Return the outcome of one file, and its differences where it was read.

    Args:
        data: The file.
        truth: The film upright, `[H, W]`, 0 to 65535.

    Returns:
        `outcome` is "read" or "refused", with `flags`, or `code` and `message`. Differences are in
        steps of 8 bits: `greatest` and `mean` from the truth that `truth` names, and `peers`.
    """
    try:
        film = decode_radiograph(data)
        read = FilmPreprocessor(PixelBudget())(data)
    except CxrError as error:
        return {"outcome": "refused", "code": error.code, "message": error.message}
    given = unpatchify(read.patches, read.grid)
    measured = []
    for name, changed in _versions(truth, film).items():
        resized = unpatchify(preprocess(changed, identity_table(16), read.grid), read.grid)
        off = np.abs(given - resized) * STEPS
        measured.append((float(off.mean()), float(off.max()), name, changed))
    mean, greatest, name, changed = min(measured, key=lambda one: one[0])
    return {
        "outcome": "read",
        "flags": list(read.info.flags),
        "truth": name,
        "greatest": round(greatest, 2),
        "mean": round(mean, 3),
        "peers": _compare_peers(data, film, changed) if film.info.source == "dicom" else {},
    }


def _versions(truth: Pixels, film: Radiograph) -> dict[str, Pixels]:
    """Return what the picture may rightly be by the header, and the flag that says so."""
    versions = {"as it is": truth}
    if "reoriented" in film.info.flags:
        # A header may say that upright pixels are turned: that is then right.
        turn = Orientation.from_code(film.info.orientation)
        versions["turned by the header"] = np.ascontiguousarray(turn.turn(truth))
    if "looks_negative" in film.info.flags:
        versions["reversed by the header"] = ~truth
    if "window_estimated" in film.info.flags:
        # As docs/films.md says.
        low, high = np.percentile(truth, [0.5, 99.5])
        stretched = np.clip((truth - low) / (high - low), 0, 1) * 65535
        versions["window estimated"] = np.rint(stretched).astype(np.uint16)
    return versions


def _compare_peers(data: bytes, film: Radiograph, truth: Pixels) -> dict[str, Any]:
    shown = film.display_table[film.pixels]
    turn = Orientation.from_code(film.info.orientation)
    results: dict[str, Any] = {}
    for name, render in PEERS.items():
        try:
            picture = render(data)
        except (ImportError, FileNotFoundError):
            continue
        if picture is None or picture.shape != film.pixels.shape[:: -1 if turn.transposed else 1]:
            results[name] = None
            continue
        turned = turn.turn(picture)
        from_truth = _greatest(turned, truth / 65535) if truth.shape == shown.shape else None
        results[name] = {"from_ours": _greatest(turned, shown), "from_truth": from_truth}
    return results


def _greatest(one: NDArray[Any], other: NDArray[Any]) -> float:
    return round(float(np.abs(one - other).max() * STEPS), 2)


def _describe_peer(result: dict[str, Any], name: str) -> str:
    if name not in result.get("peers", {}):
        return ""
    peer = result["peers"][name]
    if peer is None:
        return "fails"
    from_truth = "" if peer["from_truth"] is None else f" ({peer['from_truth']:.1f})"
    return f"{peer['from_ours']:.1f}{from_truth}"


def _print_row(file: str, result: dict[str, Any]) -> None:
    if result["outcome"] == "refused":
        print(f"{file:44} refused: {result['code']}: {result['message']}")
        return
    flags = ", ".join(result["flags"]) or "no flag"
    peers = "  ".join(f"{_describe_peer(result, name):>15}" for name in PEERS)
    print(
        f"{file:44} {result['greatest']:8.2f} {result['mean']:7.3f}  {result['truth']:22} {peers}"
        f"   {flags}"
    )


def main() -> None:
    """Measure every file of a folder, print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, help="also write the JSON here")
    arguments = parser.parse_args()
    with Image.open(arguments.folder / TRUTH) as image:
        truth = np.asarray(image).astype(np.uint16)
    print(describe_machine())
    peers = "  ".join(f"{name:>15}" for name in PEERS)
    print(f"{'file':44} {'greatest':>8} {'mean':>7}  {'truth':22} {peers}   flags")
    results = []
    for path in sorted(arguments.folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name == TRUTH:
            continue
        result = measure_file(path.read_bytes(), truth)
        _print_row(path.name, result)
        results.append(
            {
                "case": path.name,
                "metric": "greatest difference from the truth",
                "unit": "steps of 8 bits",
                "ours": result.pop("greatest", None),
                **result,
                "runs": 1,
            }
        )
    report = json.loads(make_report("film_cases", PACKAGES, results))
    if version := read_dcmtk_version():
        report["versions"]["dcmtk"] = version
    line = json.dumps(report)
    if arguments.json is not None:
        arguments.json.write_text(line + "\n", encoding="utf-8")
    print(line)


if __name__ == "__main__":
    main()
