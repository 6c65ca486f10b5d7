"""How strongly the materials of a chest attenuate X-rays.

Mass attenuation coefficients in cm²/g: Hubbell and Seltzer, Tables of X-Ray Mass Attenuation
Coefficients, NISTIR 5632 (materials of ICRU report 44). A diagnostic spectrum is taken as one
energy, so there is no beam hardening.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ENERGIES_KEV = np.array([50.0, 60.0, 80.0])
_SOFT_TISSUE = (np.array([0.2264, 0.2048, 0.1823]), 1.06)  # cm²/g at these energies, g/cm³
_LUNG = (np.array([0.2270, 0.2053, 0.1826]), 0.26)  # density of inflated lung
_ADIPOSE = (np.array([0.2123, 0.1974, 0.1800]), 0.95)
_CORTICAL_BONE = (np.array([0.4242, 0.3148, 0.2229]), 1.92)
_IRON = (np.array([1.958, 1.205, 0.5952]), 7.874)

# The mean energy of a filtered spectrum is near half of its end point.
_MEAN_ENERGY_PER_KVP = 0.5


@dataclass(frozen=True)
class Attenuation:
    """Linear attenuation coefficients in 1/cm at the mean energy of one exposure.

    Attributes:
        soft: Muscle, blood, organs and effusions.
        lung: Inflated lung with its blood.
        fat: Breast and other adipose tissue.
        bone: Cortical bone.
        metal: Steel, for wires, leads and cases.
    """

    soft: float
    lung: float
    fat: float
    bone: float
    metal: float

    @property
    def airless(self) -> float:
        """What a centimeter of lung gains when fluid or tissue takes the place of its air."""
        return self.soft - self.lung


def attenuation_at(tube_kvp: float) -> Attenuation:
    """Return the coefficients for a tube voltage in kV, 100 to 160."""
    energy_kev = _MEAN_ENERGY_PER_KVP * tube_kvp

    def linear(material: tuple[NDArray[np.float64], float]) -> float:
        per_mass, density = material
        return float(np.interp(energy_kev, _ENERGIES_KEV, per_mass)) * density

    return Attenuation(
        soft=linear(_SOFT_TISSUE),
        lung=linear(_LUNG),
        fat=linear(_ADIPOSE),
        bone=linear(_CORTICAL_BONE),
        metal=linear(_IRON),
    )
