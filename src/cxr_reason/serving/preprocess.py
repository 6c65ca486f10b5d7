"""Steps 1 and 2: the bytes of a film → gray patches, their grid, and attributes of the film."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cxr_reason.contract import DIGEST_PARAMETER, FILM, GRID, IMAGE, PATCHES, PREPROCESS_MODEL
from cxr_reason.engine.artifact import read_manifest
from cxr_reason.reader.encoder import FilmPreprocessor
from cxr_reason.reader.request import Value
from cxr_reason.serving.settings import ServingSettings


class Preprocessor:
    """The model `preprocess`, without Triton.

    Args:
        preprocess: What it does.
    """

    spec = PREPROCESS_MODEL

    def __init__(self, preprocess: FilmPreprocessor) -> None:
        self._preprocess = preprocess

    @classmethod
    def from_environment(cls) -> Preprocessor:
        """Take the pixel budget of the engine that the environment names."""
        manifest = read_manifest(ServingSettings.from_environment().engine_dir)
        return cls(FilmPreprocessor.for_engine(manifest))

    def __call__(
        self, inputs: Mapping[str, Value], parameters: Mapping[str, Any]
    ) -> dict[str, Value]:
        """Decode and preprocess one film.

        Args:
            inputs: `image`: the bytes of a DICOM, PNG or JPEG file, or a data: URL of one.
            parameters: `DIGEST_PARAMETER`, where the caller has it. It is believed: whoever calls
                `preprocess` could as well give `reason` another record of the film.

        Returns:
            `patches` float32 `[grid_h * grid_w, 196]`, `grid` int32 `[2]`, `film` JSON.

        Raises:
            InputError: The film cannot be used; its subclasses say why.
        """
        image = inputs[IMAGE.name]
        assert isinstance(image, bytes)
        film = self._preprocess(image, parameters.get(DIGEST_PARAMETER))
        return {
            PATCHES.name: film.patches,
            GRID.name: np.array(film.grid, dtype=np.int32),
            FILM.name: film.info.to_json().encode(),
        }

    def close(self) -> None:
        """Nothing to free."""
