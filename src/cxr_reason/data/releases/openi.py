"""Open-I, the chest X-ray collection of Indiana University: reports, one XML a study.

Source: Demner-Fushman et al., "Preparing a collection of radiology examinations for distribution
and retrieval" (JAMIA 2016); download page "Open-i" of the National Library of Medicine. Text only
here: the names of its images are kept, the images are another download. A study a patient.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from lzma import LZMAError
from pathlib import Path
from xml.etree import ElementTree

from cxr_reason.data.releases.example import Example
from cxr_reason.data.releases.reports import join_sections
from cxr_reason.data.releases.tables import Problems, RowError
from cxr_reason.statements import label_report

SOURCE = "open-i"


def load_openi(place: Path) -> list[Example]:
    """Load the reports that have findings or an impression.

    Labels are what the rules of `cxr_reason.statements` read in the report.

    Args:
        place: The archive (`NLMCXR_reports.tgz`, or packed otherwise), or a folder of the files.

    Raises:
        DataError: Names the files that cannot be read.
    """
    problems = Problems()
    examples = []
    seen: dict[str, str] = {}
    for name, content in _read_files(place, problems):
        try:
            example = _read(name, content)
            first = seen.setdefault(example.patient, name)
            if first != name:
                raise RowError(f"same uId as {first}")
        except RowError as error:
            problems.add(name, str(error))
            continue
        if example.report:
            examples.append(example)
    if not seen:
        problems.add(place.name, "no report in it")
    problems.raise_if_any()
    return examples


def _read(name: str, content: bytes) -> Example:
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise RowError(f"not XML: {error}") from error
    identifier = root.find("uId")
    study = "" if identifier is None else identifier.get("id", "")
    if not study:
        raise RowError("no uId")
    texts = {text.get("Label"): text.text or "" for text in root.iter("AbstractText")}
    report = join_sections(texts.get(label, "") for label in ("FINDINGS", "IMPRESSION"))
    return Example(
        film=None,
        patient=f"{SOURCE}/{study}",
        source=SOURCE,
        origin=name,
        report=report,
        labels=label_report(report or "", "chexpert"),
        image_ids=tuple(image.get("id", "") for image in root.iter("parentImage")),
    )


def _read_files(place: Path, problems: Problems) -> Iterator[tuple[str, bytes]]:
    try:
        if place.is_dir():
            for path in sorted(place.rglob("*.xml")):
                yield path.name, path.read_bytes()
            return
        with tarfile.open(place) as archive:
            # In the archive's own order: going back in a compressed one reads it again.
            for member in archive:
                file = archive.extractfile(member) if member.name.endswith(".xml") else None
                if file is not None:
                    yield Path(member.name).name, file.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error, LZMAError) as error:
        problems.add(place.name, f"cannot be read: {error}")
