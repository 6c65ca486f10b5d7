"""Look-up tables whose descriptor and data disagree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from support.chest_files import (
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    bare_dataset,
    chest_dataset,
    chest_file,
    chest_pixels,
    lut_sequence,
)

from cxr_reason.errors import UnsupportedObjectError
from cxr_reason.film.radiograph import Radiograph, decode_radiograph

PIXELS = chest_pixels(12)
RAMP = np.arange(4096)
TRUE = PIXELS / 4095


def read(syntax: str = EXPLICIT, **values: Any) -> Radiograph:
    return decode_radiograph(chest_file(chest_dataset(PIXELS, 12, **values), syntax))


def shown(film: Radiograph) -> np.ndarray:
    return film.display_table[film.pixels]


@pytest.mark.parametrize("declared", [8, 10, 14, 16])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_the_range_is_that_of_the_entries(declared: int, syntax: str) -> None:
    film = read(syntax, VOILUTSequence=lut_sequence(RAMP, 4096, bits=declared))
    np.testing.assert_allclose(shown(film), TRUE, atol=1e-6)
    assert film.info.flags == ("voi_lut_rescaled",)


def test_a_table_that_ends_below_white_within_its_bits_stays_there() -> None:
    film = read(VOILUTSequence=lut_sequence(RAMP * 3 // 4, 4096, bits=12))
    np.testing.assert_allclose(shown(film), PIXELS * 3 // 4 / 4095, atol=1e-6)
    assert film.info.flags == ()


@pytest.mark.parametrize("there", [4095, 4000, 2049])
def test_entries_that_are_missing_are_the_last_one(there: int) -> None:
    film = read(VOILUTSequence=lut_sequence(RAMP[:there], 4096))
    np.testing.assert_allclose(shown(film), np.minimum(PIXELS, there - 1) / 4095, atol=1e-6)
    assert film.info.flags == ("voi_lut_truncated",)


@pytest.mark.parametrize(
    "sequence",
    [
        lut_sequence(b"", 4096),
        lut_sequence(RAMP[:100], 4096),
        lut_sequence(RAMP * 0, 4096),
        lut_sequence(RAMP * 0 + 77, 4096),
        lut_sequence(RAMP, 4096, first=9000),
        Sequence([Dataset()]),
    ],
    ids=["empty", "nearly empty", "black", "flat", "beside all pixels", "no elements"],
)
def test_a_table_that_shows_nothing_is_ignored(sequence: Sequence) -> None:
    film = read(VOILUTSequence=sequence)
    np.testing.assert_allclose(shown(film), TRUE, atol=1e-6)
    assert film.info.flags == ("voi_lut_ignored",)
    film = read(VOILUTSequence=sequence, WindowCenter=None, WindowWidth=None)
    assert set(film.info.flags) == {"voi_lut_ignored", "window_estimated"}


def test_the_second_item_counts_where_the_first_is_empty() -> None:
    sequence = Sequence([Dataset(), *lut_sequence(RAMP[::-1], 4096)])
    film = read(VOILUTSequence=sequence)
    np.testing.assert_allclose(shown(film), 1 - TRUE, atol=1e-6)
    assert film.info.flags == ("voi_lut_ignored",)


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("entries", [256, 255])
def test_entries_of_8_bits_are_bytes_or_words(syntax: str, is_packed: bool, entries: int) -> None:
    pixels = chest_pixels(8)
    ramp = np.arange(entries)
    if is_packed:
        data = ramp.astype(np.uint8).tobytes() + bytes(entries % 2)
    else:
        data = ramp.astype("<u2").tobytes()
    if syntax == BIG_ENDIAN:
        data = np.frombuffer(data, ">u2").astype("<u2").tobytes()
    dataset = chest_dataset(pixels, 8, VOILUTSequence=lut_sequence(data, entries, bits=8))
    if syntax == BIG_ENDIAN:
        dataset.add_new("PixelData", "OB", pixels.tobytes())
    film = decode_radiograph(chest_file(dataset, syntax))
    np.testing.assert_allclose(shown(film), np.minimum(pixels, entries - 1) / 255, atol=1e-6)
    assert film.info.flags == ()


def test_bytes_in_a_table_that_declares_more_bits() -> None:
    data = (RAMP // 16).astype(np.uint8).tobytes()
    film = read(VOILUTSequence=lut_sequence(data, 4096, bits=16))
    np.testing.assert_allclose(shown(film), (PIXELS // 16) / 255, atol=1e-6)
    assert film.info.flags == ("voi_lut_rescaled",)


@pytest.mark.parametrize("inner", [IMPLICIT, EXPLICIT])
@pytest.mark.parametrize("has_length", [True, False])
def test_a_sequence_written_as_un(inner: str, has_length: bool) -> None:
    item = bare_dataset(lut_sequence(RAMP[::-1], 4096)[0], inner)
    items = b"\xfe\xff\x00\xe0" + len(item).to_bytes(4, "little") + item
    element = b"\x28\x00\x10\x30UN\0\0"
    if has_length:
        element += len(items).to_bytes(4, "little") + items
    else:
        element += b"\xff\xff\xff\xff" + items + b"\xfe\xff\xdd\xe0\0\0\0\0"
    data = chest_file(chest_dataset(PIXELS, 12))
    position = data.index(b"\xe0\x7f\x10\x00OW")
    film = decode_radiograph(data[:position] + element + data[position:])
    np.testing.assert_allclose(shown(film), 1 - TRUE, atol=1e-6)


def test_a_modality_lut_has_the_same_rules() -> None:
    modality = lut_sequence(RAMP[::-1][:4000], 4096)
    modality[0].ModalityLUTType = "US"
    film = read(ModalityLUTSequence=modality)
    np.testing.assert_allclose(shown(film), (4095 - np.minimum(PIXELS, 3999)) / 4095, atol=1e-6)
    assert film.info.flags == ("modality_lut_truncated",)
    film = read(ModalityLUTSequence=lut_sequence(b"", 4096))
    np.testing.assert_allclose(shown(film), TRUE, atol=1e-6)
    assert film.info.flags == ("modality_lut_ignored",)


def palette(bits: int, **colors: np.ndarray) -> dict[str, Any]:
    values: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for color, entries in colors.items():
        name = f"{color}PaletteColorLookupTable"
        values[f"{name}Descriptor"] = [len(entries), 0, bits]
        values[f"{name}Data"] = entries.astype("<u2" if bits > 8 else np.uint8).tobytes()
    return values


@pytest.mark.parametrize("bits", [8, 16])
def test_a_gray_palette_is_the_display(bits: int) -> None:
    pixels, curve = chest_pixels(8), (np.arange(256) ** 2 // 255) * (257 if bits == 16 else 1)
    values = palette(bits, Red=curve, Green=curve, Blue=curve)
    film = decode_radiograph(chest_file(chest_dataset(pixels, 8, **values)))
    np.testing.assert_allclose(shown(film), curve[pixels] / curve.max(), atol=1e-6)
    assert film.info.flags == ()


def test_a_palette_of_colors_is_refused() -> None:
    ramp = np.arange(256)
    for values in (
        palette(8, Red=ramp, Green=ramp, Blue=ramp[::-1]),
        palette(8, Red=ramp),
        palette(8),
    ):
        with pytest.raises(UnsupportedObjectError, match="send MONOCHROME"):
            decode_radiograph(chest_file(chest_dataset(chest_pixels(8), 8, **values)))
