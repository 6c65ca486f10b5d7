#!/usr/bin/env bash
# pydicom 3.0.2: a VOI LUT Sequence that was written with VR UN (PS3.5 6.2.2, as archives do with what they
# do not know) is a sequence when it is short, and stays bytes from 65,535 bytes on. A table of 12 bits is
# found, a table of 16 bits silently is not: the same header then shows another picture.
#
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet pydicom==3.0.2
"$folder/venv/bin/python" - <<'PYTHON'
import struct
from io import BytesIO

import pydicom
from pydicom.filereader import dcmread


def element(group, number, value):
    """An element in implicit VR little endian, as the value of a UN sequence is encoded."""
    return struct.pack("<HHI", group, number, len(value)) + value


def file_with_lut(entries):
    descriptor = struct.pack("<HHH", entries % 65536, 0, 16)
    item = element(0x0028, 0x3002, descriptor) + element(0x0028, 0x3006, bytes(2 * entries))
    sequence = element(0xFFFE, 0xE000, item)
    modality = struct.pack("<HH2sH", 0x0008, 0x0060, b"CS", 2) + b"DX"
    unknown = struct.pack("<HH2sHI", 0x0028, 0x3010, b"UN", 0, len(sequence)) + sequence
    syntax = b"1.2.840.10008.1.2.1\0"
    meta = struct.pack("<HH2sH", 0x0002, 0x0010, b"UI", len(syntax)) + syntax
    length = struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(meta))
    return BytesIO(bytes(128) + b"DICM" + length + meta + modality + unknown)


print("pydicom", pydicom.__version__)
seen = {}
for entries in (4096, 65536):
    lut = dcmread(file_with_lut(entries))["VOILUTSequence"]
    seen[entries] = lut.VR
    print(f"VOI LUT Sequence with VR UN and {entries} entries: read as {lut.VR}")
assert seen == {4096: "SQ", 65536: "UN"}, "the behaviour has changed"
PYTHON
