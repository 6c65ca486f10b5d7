"""Fixtures that most tests share."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.made_once import MadeOnce

from cxr_reason.checkpoint import Checkpoint
from cxr_reason.engine.base import Array, Engine
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.onnx.engine import OnnxEngine
from cxr_reason.engine.registry import load_engine
from cxr_reason.kernels.preprocess import PixelBudget
from cxr_reason.reader.encoder import FilmPreprocessor
from cxr_reason.serving.addresses import Addresses
from cxr_reason.serving.launcher import TritonServer
from cxr_reason.serving.settings import ServingSettings

REPOSITORY = Path(__file__).resolve().parents[1]

# Files that take more than twenty seconds, the longest first.
LONGEST = (
    "server/test_server.py",
    "benchmarks/test_bench_engine.py",
    "training/test_training.py",
    "page/test_page.py",
    "page/test_page_server.py",
    "benchmarks/test_gpu_acceptance.py",
    "gpu/test_aot.py",
    "server/test_client.py",
    "page/test_page_film.py",
    "benchmarks/test_trtllm_acceptance.py",
    "benchmarks/test_bench_serving.py",
    "gpu/test_projector.py",
    "training/test_traces.py",
    "engine/test_build.py",
    "engine/test_int8.py",
    "gpu/test_preprocess_triton.py",
    "engine/test_trtllm.py",
    "server/test_cli.py",
    "engine/test_examples.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start the longest files first where processes share the work, so that none ends alone."""
    if hasattr(config, "workerinput"):  # of pytest-xdist
        order = {REPOSITORY / "tests" / name: i for i, name in enumerate(LONGEST)}
        items.sort(key=lambda item: order.get(item.path, len(order)))


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


@pytest.fixture(scope="session")
def trained(repository: Path) -> Checkpoint:
    """The checkpoint of this repository, for tests of behaviour."""
    return Checkpoint(repository / "checkpoints" / "nano")


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    return MadeOnce(tmp_path_factory)


@pytest.fixture(scope="session")
def nano(made_once: MadeOnce) -> Checkpoint:
    """A random checkpoint: its output is lively and never ends, so equality means something."""

    def make(folder: Path) -> None:
        # It loads transformers, which most runs of a few tests do without.
        from cxr_reason.training import random_checkpoint

        random_checkpoint.make_checkpoint("nano", folder)

    return Checkpoint(made_once.get("nano", make))


@pytest.fixture(scope="session")
def engine_dir(made_once: MadeOnce, nano: Checkpoint) -> Path:
    """The nano checkpoint in fp32."""
    return made_once.engine("nano", nano, "fp32")


@pytest.fixture(scope="session")
def engine_dirs(made_once: MadeOnce, nano: Checkpoint, engine_dir: Path) -> dict[str, Path]:
    """The nano checkpoint in each precision."""
    return {"fp32": engine_dir, "int4": made_once.engine("nano", nano, "int4")}


@pytest.fixture(scope="session")
def trained_engine_dir(made_once: MadeOnce, trained: Checkpoint) -> Path:
    """The checkpoint of this repository in fp32: its readings end and have findings."""
    return made_once.engine("trained", trained, "fp32")


@pytest.fixture(scope="session")
def engine(engine_dir: Path) -> Iterator[OnnxEngine]:
    """A running engine for tests that leave nothing behind in it."""
    engine = load_engine(engine_dir)
    assert isinstance(engine, OnnxEngine)
    with engine:
        yield engine


@pytest.fixture(scope="session")
def reference(nano: Checkpoint) -> Iterator[Engine]:
    """Transformers in fp32."""
    from cxr_reason.engine.reference.engine import ReferenceEngine

    with ReferenceEngine(nano) as engine:
        yield engine


@pytest.fixture(scope="session")
def film_paths(rg1_path: Path, data_dir: Path) -> list[Path]:
    """Three real chest films: a 15-bit DICOM and two 8-bit rasters of NIH ChestX-ray14."""
    nih = data_dir / "nih_cxr14"
    return [rg1_path, sorted(nih.glob("png1024/*.png"))[0], sorted(nih.glob("jpg320/*.jpg"))[1]]


def read_film(path: Path) -> tuple[Array, tuple[int, int]]:
    """Return patches and grid of a film."""
    film = FilmPreprocessor(PixelBudget())(path.read_bytes())
    return film.patches, (film.grid.height, film.grid.width)


@pytest.fixture(scope="session")
def films(film_paths: list[Path]) -> list[tuple[Array, tuple[int, int]]]:
    return [read_film(path) for path in film_paths]


@pytest.fixture(scope="session")
def rg1(rg1_path: Path) -> tuple[Array, tuple[int, int]]:
    return read_film(rg1_path)


@pytest.fixture(scope="session")
def server(engine_dir: Path) -> Iterator[TritonServer]:
    """A real tritonserver over the nano checkpoint in fp32, with four slots."""
    settings = ServingSettings(engine_dir, EngineConfig(max_batch=4))
    with TritonServer(settings, addresses=Addresses.free()) as server:
        yield server
