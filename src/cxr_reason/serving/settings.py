"""What the launcher tells the models, through the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cxr_reason.engine.config import EngineConfig
from cxr_reason.errors import ServerError
from cxr_reason.reader.film_cache import DEFAULT_FILM_CACHE_MIB

ENGINE_VARIABLE = "CXR_ENGINE"
ENGINE_CONFIG_VARIABLE = "CXR_ENGINE_CONFIG"
FILM_CACHE_VARIABLE = "CXR_FILM_CACHE_MIB"
CALIBRATION_VARIABLE = "CXR_CALIBRATION"
FILM_GATE_VARIABLE = "CXR_FILM_GATE"


@dataclass(frozen=True)
class ServingSettings:
    """Settings that all models of one server share.

    Attributes:
        engine_dir: The engine artifact.
        engine_config: How the engine runs.
        film_cache_mib: Memory for encoded films, in MiB; 0 keeps none.
        calibration: File of thresholds for several traces; None for the default.
        film_gate: File by which films that are no frontal chest film get a flag; None for none.
    """

    engine_dir: Path
    engine_config: EngineConfig = field(default_factory=EngineConfig)
    film_cache_mib: int = DEFAULT_FILM_CACHE_MIB
    calibration: Path | None = None
    film_gate: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> ServingSettings:
        """Read what `to_environment` wrote.

        Raises:
            ServerError: No engine is named, or the cache size is not a whole number.
            BadRequestError: The engine configuration is not valid.
        """
        engine_dir = environment.get(ENGINE_VARIABLE)
        if not engine_dir:
            raise ServerError(
                f"{ENGINE_VARIABLE} is not set: it names the engine folder; "
                "start the server with `cxr-reason serve`"
            )
        film_cache_mib = environment.get(FILM_CACHE_VARIABLE, str(cls.film_cache_mib))
        if not film_cache_mib.isdecimal():
            raise ServerError(f"{FILM_CACHE_VARIABLE} must be a whole number of MiB, 0 for none")
        calibration = environment.get(CALIBRATION_VARIABLE)
        film_gate = environment.get(FILM_GATE_VARIABLE)
        return cls(
            engine_dir=Path(engine_dir),
            engine_config=EngineConfig.from_json(environment.get(ENGINE_CONFIG_VARIABLE, "{}")),
            film_cache_mib=int(film_cache_mib),
            calibration=Path(calibration) if calibration else None,
            film_gate=Path(film_gate) if film_gate else None,
        )

    def to_environment(self) -> dict[str, str]:
        """Return the variables that carry these settings to the models."""
        return {
            ENGINE_VARIABLE: str(self.engine_dir.resolve()),
            ENGINE_CONFIG_VARIABLE: self.engine_config.to_json(),
            FILM_CACHE_VARIABLE: str(self.film_cache_mib),
            CALIBRATION_VARIABLE: str(self.calibration.resolve()) if self.calibration else "",
            FILM_GATE_VARIABLE: str(self.film_gate.resolve()) if self.film_gate else "",
        }
