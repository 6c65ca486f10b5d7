"""DICOM films as other software shows them: highdicom, and dcm2pnm of DCMTK where it is installed.

Neither turns a film or makes its pixels square: both show it as it is stored.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from cxr_reason.film.quiet import quiet_pydicom

Picture = NDArray[np.float64]

# The same program, built with the decoders for none or RLE, JPEG, and JPEG-LS.
_DCMTK = ("dcm2pnm", "dcmj2pnm", "dcml2pnm")
_TIMEOUT_S = 60


def render_with_highdicom(data: bytes) -> Picture | None:
    """Return display intensity 0..1, `[H, W]` as stored; None where highdicom fails.

    Raises:
        ImportError: It is not installed.
    """
    import highdicom

    try:
        with quiet_pydicom():
            image = highdicom.imread(BytesIO(data))
            frame = image.get_frame(1, apply_voi_transform=None, apply_presentation_lut=True)
    except Exception:  # of any kind: it is asked for files that break the standard
        return None
    # Without a window highdicom returns stored values, which are no display intensities.
    is_display = frame.ndim == 2 and frame.min() >= 0 and frame.max() <= 1
    return np.asarray(frame, dtype=np.float64) if is_display else None


def render_with_dcmtk(data: bytes) -> Picture | None:
    """Return display intensity 0..1, `[H, W]` as stored, in 16 bits; None where DCMTK fails.

    dcm2pnm applies no VOI transformation by itself: it is told to take the first VOI LUT or, where
    there is none, the first window, as a viewer would.

    Raises:
        FileNotFoundError: It is not installed.
    """
    programs = [path for path in map(shutil.which, _DCMTK) if path is not None]
    if not programs:
        raise FileNotFoundError("dcm2pnm of DCMTK is not on PATH")
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "film.dcm"), Path(folder, "film.png")
        source.write_bytes(data)
        for program in programs:
            command = [program, *_choose_voi(data), "--write-16-bit-png", str(source), str(target)]
            done = subprocess.run(
                command, capture_output=True, timeout=_TIMEOUT_S, check=False
            )  # what it says may quote the header
            if done.returncode == 0 and target.is_file():
                with Image.open(target) as image:
                    picture = np.asarray(image, dtype=np.float64)
                return picture / 65535 if picture.ndim == 2 else None
    return None


def read_dcmtk_version() -> str:
    """Return the version of DCMTK; empty where it is not installed."""
    program = shutil.which(_DCMTK[0])
    if program is None:
        return ""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    return next((word[1:] for word in words if word[:1] == "v" and word[1:2].isdigit()), "")


def _choose_voi(data: bytes) -> list[str]:
    with quiet_pydicom():
        try:
            dataset = dcmread(BytesIO(data), stop_before_pixels=True, force=True)
            if dataset.get("VOILUTSequence"):
                return ["--use-voi-lut", "1"]
            return ["--use-window", "1"] if "WindowWidth" in dataset else []
        except Exception:  # of any kind, as above
            return []


PEERS: dict[str, Callable[[bytes], Picture | None]] = {
    "highdicom": render_with_highdicom,
    "dcm2pnm": render_with_dcmtk,
}
