"""The wheel that users install, and the version in the places that state it."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

import cxr_reason
from cxr_reason.contract import MODELS

DATA_SUFFIXES = {
    *(".dcm", ".png", ".jpg", ".jpeg", ".dicom", ".nii"),
    *(".safetensors", ".onnx", ".npy", ".npz", ".bin", ".pt"),
    *(".csv", ".jsonl", ".parquet", ".pyc"),
}


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = [name for name in ("scikit_build_core", "nanobind") if find_spec(name) is None]
    missing += [name for name in ("cmake", "c++") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"building a wheel without the network needs {', '.join(missing)} here")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    run = subprocess.run(
        [*command, "--no-index", "--disable-pip-version-check", "-w", str(folder), "."],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def package_tree(repository: Path) -> set[str]:
    """Return what the package folder holds, through its links, without caches and native code."""
    found = set()
    source = repository / "src"
    for folder, subfolders, files in os.walk(source / "cxr_reason", followlinks=True):
        subfolders[:] = [name for name in subfolders if name not in ("__pycache__", "benchmarks")]
        found |= {Path(folder, name).relative_to(source).as_posix() for name in files}
    return {name for name in found if not name.endswith((".cpp", ".h", ".so"))}


@pytest.mark.parametrize(
    "name",
    [
        "cxr_reason/__init__.py",
        "cxr_reason/py.typed",
        "cxr_reason/client/client.py",
        "cxr_reason/engine/base.py",
        "cxr_reason/engine/onnx/engine.py",
        "cxr_reason/kernels/preprocess/__init__.py",
        "cxr_reason/serving/launcher.py",
        *(f"cxr_reason/serving/model_repository/{model.name}/config.pbtxt" for model in MODELS),
        *(
            f"cxr_reason/serving/model_repository/{model.name}/1/model.py"
            for model in MODELS
            if not model.steps
        ),
    ],
)
def test_wheel_contains(names: set[str], name: str) -> None:
    assert name in names


def test_command_of_the_metadata_is_in_the_wheel(wheel: Path, names: set[str]) -> None:
    with ZipFile(wheel) as archive:
        (entry,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
        text = archive.read(entry).decode()
    assert re.search(r"^cxr-reason *= *cxr_reason\.cli\.main:main$", text, re.MULTILINE)
    assert "cxr_reason/cli/main.py" in names


def test_the_command_of_the_wheel_starts(wheel: Path, tmp_path: Path) -> None:
    """Without a clone around it: what is imported at the start is in the wheel."""
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import cxr_reason.cli.main as main\n"
        f"assert main.__file__.startswith({str(tmp_path)!r}), main.__file__; main.main(['--help'])"
    )
    # Isolated from site-packages' own links to this clone.
    finder = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'cxr' not in repr(f)]\n"
    run = subprocess.run(
        [sys.executable, "-c", finder + code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "read" in run.stdout and "bench" not in run.stdout


def test_every_model_has_its_version_folder(names: set[str]) -> None:
    """Triton refuses a model without one, and an archive holds no empty folder."""
    for model in MODELS:
        folder = f"cxr_reason/serving/model_repository/{model.name}/1/"
        assert any(name.startswith(folder) for name in names), model.name


def test_wheel_is_the_package_folder_and_nothing_else(names: set[str], repository: Path) -> None:
    packaged = {name for name in names if ".dist-info/" not in name}
    extension = f"cxr_reason/kernels/preprocess/_native{sysconfig.get_config_var('EXT_SUFFIX')}"
    assert packaged == package_tree(repository) | {extension}


def test_wheel_contains_no_test_and_no_data(names: set[str]) -> None:
    for name in names:
        path = Path(name)
        assert path.suffix.lower() not in DATA_SUFFIXES, name
        assert not {"tests", "checkpoints", "benchmarks", "shared"} & set(path.parts), name
        assert not path.name.startswith(("test_", "conftest")), name


def test_links_became_files(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        for entry in archive.infolist():
            assert not stat.S_ISLNK(entry.external_attr >> 16), entry.filename


def test_metadata(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    assert f"\nVersion: {cxr_reason.__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    required = re.findall(r"^Requires-Dist: ([\w-]+)(?!.*extra ==)", metadata, re.MULTILINE)
    assert not {"torch", "onnxruntime", "transformers", "pydicom"} & set(required)


def test_unpacked_wheel_works_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "from cxr_reason.engine import base\n"
        "from cxr_reason.kernels.preprocess import native as preprocess\n"
        "from cxr_reason.serving.model_config import MODEL_REPOSITORY\n"
        "print(base.__file__, preprocess.__file__, MODEL_REPOSITORY, sep='\\n')"
    )
    # Without `site` no .pth file leads back to the repository; the dependencies stay findable.
    search = os.pathsep.join(
        [str(tmp_path), *(sysconfig.get_path(n) for n in ("purelib", "platlib"))]
    )
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    places = [Path(line).resolve() for line in run.stdout.split("\n") if line]
    assert len(places) == 3
    for place in places:
        assert place.exists() and place.is_relative_to(tmp_path.resolve()), place


def test_version_is_stated_once_in_each_place(repository: Path) -> None:
    project = (repository / "pyproject.toml").read_text(encoding="utf-8")
    assert re.findall(r'^version = "(.*)"$', project, re.MULTILINE) == [cxr_reason.__version__]


def test_changelog_has_an_entry_for_this_version(repository: Path) -> None:
    """A released version has its own; what comes next is under [Unreleased]."""
    changelog = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    entries = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert entries and len(set(entries)) == len(entries)
    assert {"Unreleased", cxr_reason.__version__} & set(entries)
    assert "Unreleased" not in entries[1:], "[Unreleased] comes first"


def test_changelog_names_the_tested_versions(repository: Path) -> None:
    changelog = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    for name in ("Python", "torch", "transformers", "onnxruntime", "tritonserver", "numpy"):
        assert re.search(rf"\b{name} \d+\.\d+", changelog), name
