"""A picture with examples of the phantoms, to be inspected after every change to them.

    python -m cxr_reason.data.phantoms.contact_sheet docs/phantoms.png [--size 192]

Two films without findings (PA, AP), then one for each label that can be drawn, with its boxes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cxr_reason.data.phantoms.anatomy import View, make_anatomy
from cxr_reason.data.phantoms.cases import DEFAULT_PREVALENCE, State
from cxr_reason.data.phantoms.phantom import Phantom, make_phantom

_COLUMNS = 5
_BOX_COLOR = (255, 96, 64)
_GRAYS = 96  # of the file's palette: keeps it small


def draw_film(phantom: Phantom, title: str) -> Image.Image:
    """Return a film as a display shows it, with boxes and a title."""
    shown = np.rint(phantom.display_table[phantom.pixels] * 255.0).astype(np.uint8)
    image = Image.fromarray(shown).convert("RGB")
    draw = ImageDraw.Draw(image)
    for finding in phantom.findings:
        x0, y0, x1, y1 = finding.box
        draw.rectangle((x0 - 1, y0 - 1, x1, y1), outline=_BOX_COLOR)
    draw.text(
        (4, phantom.pixels.shape[0] - 14),
        title,
        fill=(255, 255, 0),
        stroke_width=1,
        stroke_fill=(0, 0, 0),
    )
    return image


def make_sheet(size_px: int, first_seed: int = 40) -> Image.Image:
    """Return all films side by side; PA and AP take turns."""
    cases: list[tuple[str, View, dict[str, State]]] = [("PA", "PA", {}), ("AP", "AP", {})]
    for number, label in enumerate(DEFAULT_PREVALENCE):
        cases.append((label, "PA" if number % 2 else "AP", {label: "present"}))
    rows = -(-len(cases) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * size_px, rows * size_px))
    seed = first_seed
    for number, (title, view, labels) in enumerate(cases):
        while make_anatomy(seed).view != view:
            seed += 1
        film = draw_film(make_phantom(seed, size_px, labels=labels), title)
        sheet.paste(film, (number % _COLUMNS * size_px, number // _COLUMNS * size_px))
        seed += 1
    return sheet


def main() -> None:
    """Write the sheet to the file that the command names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", type=int, default=192, help="pixels of one film")
    arguments = parser.parse_args()
    make_sheet(arguments.size).quantize(_GRAYS).save(arguments.output, optimize=True)


if __name__ == "__main__":
    main()
