"""Images that are not chest films, with the sentence that refuses them."""

from __future__ import annotations

from pathlib import Path

from cxr_reason.data.releases.example import Example
from cxr_reason.data.releases.tables import Problems, RowError, check_film
from cxr_reason.prompts import REFUSAL

SOURCE = "refusals"
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".dcm"})


def load_refusals(folder: Path) -> list[Example]:
    """Load every PNG, JPEG and DICOM file in and below a folder as an image to refuse.

    Args:
        folder: Images none of which may be a chest film. The caller must make sure of that.

    Raises:
        DataError: Names the empty files, or the folder where it has no image.
    """
    problems = Problems()
    examples = []
    films = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    for film in films:
        name = film.relative_to(folder).as_posix()
        try:
            check_film(film)
        except RowError as error:
            problems.add(name, str(error))
            continue
        examples.append(
            Example(
                film=film,
                # No patient is known: each image counts as its own.
                patient=f"{SOURCE}/{name}",
                source=SOURCE,
                origin=name,
                trace=REFUSAL,
            )
        )
    if not films:
        problems.add(folder.name, "no image in it")
    problems.raise_if_any()
    return examples
