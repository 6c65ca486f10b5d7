"""Steps 1 to 3: the bytes of a film → gray patches → visual tokens.

The server runs the two halves in two processes: `FilmPreprocessor` is its model `preprocess`, the
engine's `encode` its model `vision`. In one process `FilmEncoder` joins them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cxr_reason.engine.artifact import Manifest
from cxr_reason.engine.base import Array, Engine
from cxr_reason.film.info import FilmInfo
from cxr_reason.film.picture import check_picture
from cxr_reason.film.radiograph import decode_radiograph
from cxr_reason.kernels.preprocess import Grid, PixelBudget, fit_grid, preprocess
from cxr_reason.kernels.preprocess.reference import unpatchify
from cxr_reason.reader.film_cache import EncodedFilm


@dataclass(frozen=True, eq=False)
class PreprocessedFilm:
    """A film as the vision tower sees it.

    Attributes:
        patches: Gray patches, float32 `[grid.height * grid.width, 196]` in merge order, 0..1.
        grid: Rows and columns of patches.
        info: What else is known of the film.
    """

    patches: Array
    grid: Grid
    info: FilmInfo


class FilmPreprocessor:
    """Decodes films and resizes them to a pixel budget. Thread-safe.

    Args:
        budget: Bounds on the area of the resized film.
    """

    def __init__(self, budget: PixelBudget) -> None:
        self._budget = budget

    @classmethod
    def for_engine(cls, manifest: Manifest) -> FilmPreprocessor:
        """Return one with the pixel budget of an engine."""
        return cls(PixelBudget(manifest.min_pixels, manifest.max_pixels))

    def __call__(self, data: bytes, digest: str | None = None) -> PreprocessedFilm:
        """Decode and preprocess one film, and look at the picture that results.

        Args:
            data: A DICOM, PNG or JPEG file, or a `data:` URL of one.
            digest: See `decode_radiograph`.

        Raises:
            InputError: The film cannot be used; its subclasses say why.
        """
        film = decode_radiograph(data, digest=digest)
        patches, grid = self.resize(film.pixels, film.display_table, film.pixel_aspect)
        # The header may have said the same.
        flags = dict.fromkeys((*film.info.flags, *check_picture(unpatchify(patches, grid))))
        return PreprocessedFilm(patches, grid, replace(film.info, flags=tuple(flags)))

    def resize(
        self,
        pixels: npt.NDArray[np.uint16],
        display_table: npt.NDArray[np.float32],
        pixel_aspect: float = 1.0,
    ) -> tuple[Array, Grid]:
        r"""Return patches and grid of a film that is decoded already.

        Args:
            pixels: uint16 `[H, W]`, values as stored, turned to L\F.
            display_table: float32, stored value to display intensity 0..1.
            pixel_aspect: Spacing of rows over that of columns; in the patches it is 1.
        """
        height_px, width_px = pixels.shape
        grid = fit_grid(height_px, width_px, self._budget, pixel_aspect)
        return preprocess(pixels, display_table, grid), grid


class FilmEncoder:
    """Turns films into visual tokens in this process. Thread-safe.

    Args:
        engine: Loaded with its part "vision".
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._preprocess = FilmPreprocessor.for_engine(engine.manifest)

    def __call__(self, data: bytes, digest: str | None = None) -> EncodedFilm:
        """Encode one film.

        Args:
            data: A DICOM, PNG or JPEG file, or a `data:` URL of one.
            digest: See `decode_radiograph`.

        Raises:
            InputError: The film cannot be used; its subclasses say why.
            GenerationError: The vision tower failed.
        """
        film = self._preprocess(data, digest)
        return EncodedFilm(self._engine.encode(film.patches, film.grid), film.info)
