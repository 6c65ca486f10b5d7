"""Steps 1 to 3 in one process, as the server's three models do them."""

from __future__ import annotations

from collections.abc import Callable

from cxr_reason.engine.base import Engine
from cxr_reason.film.radiograph import decode_radiograph
from cxr_reason.kernels.preprocess import PixelBudget, fit_grid, preprocess
from cxr_reason.serving.film_cache import EncodedFilm


def make_film_encoder(engine: Engine) -> Callable[[bytes], EncodedFilm]:
    """Return what turns the bytes of a film's file into visual tokens with this engine."""
    budget = PixelBudget(engine.manifest.min_pixels, engine.manifest.max_pixels)

    def encode(data: bytes) -> EncodedFilm:
        film = decode_radiograph(data)
        height_px, width_px = film.pixels.shape
        grid = fit_grid(height_px, width_px, budget)
        patches = preprocess(film.pixels, film.display_table, grid)
        return EncodedFilm(engine.encode(patches, (grid.height, grid.width)), film.info)

    return encode
