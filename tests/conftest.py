"""Fixtures that most tests share."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def seeds() -> None:
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real films and reports that CXR_TEST_DATA names."""
    place = os.environ.get("CXR_TEST_DATA")
    if not place:
        pytest.skip("CXR_TEST_DATA is not set: it names the folder of real films and reports")
    return Path(place)


@pytest.fixture(scope="session")
def dicom_dir(data_dir: Path) -> Path:
    return data_dir / "dicom"


@pytest.fixture(scope="session")
def rg1_path() -> Path:
    """RG1, a real 15-bit MONOCHROME1 CR of a chest, from the package pydicom-data (MIT)."""
    from pydicom.data import get_testdata_file

    path = get_testdata_file("RG1_UNCR.dcm", download=False)
    assert isinstance(path, str), "pydicom-data is in the extra `dev`"
    return Path(path)
