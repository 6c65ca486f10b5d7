"""Kernels compiled ahead of time: for every architecture, and loaded through a fake driver.

A GPU is not needed: the compiler targets any, and `fake_libcuda.c` records what the loader asks
the driver for. That a real driver accepts it is for `benchmarks/gpu_acceptance.py` to show.
"""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxr_reason.errors import ArtifactError, EngineError
from cxr_reason.kernels.aot.compile import PTX_VERSIONS, compile_kernels, main
from cxr_reason.kernels.aot.driver import CudaDriver
from cxr_reason.kernels.aot.loader import BINARIES, KernelLibrary, choose_file
from cxr_reason.kernels.aot.manifest import (
    CompiledKernel,
    File,
    KernelManifest,
    digest,
    read_manifest,
)
from cxr_reason.kernels.aot.variants import KernelVariant, all_variants, evaluate_grid

# Most shared memory of a thread block: CUDA C++ Programming Guide 12.9, "Technical Specifications
# per Compute Capability", https://docs.nvidia.com/cuda/archive/12.9.1/cuda-c-programming-guide/
KIB = 1024
SHARED_LIMITS = {
    80: 163 * KIB,
    86: 99 * KIB,
    89: 99 * KIB,
    90: 227 * KIB,
    100: 227 * KIB,
    120: 99 * KIB,
}
ARCHS = sorted(SHARED_LIMITS)
REGISTERS = 64 * KIB  # of a multiprocessor, on all of them

KERNEL = "preprocess_fp16_any"
POINTERS = (
    *("pixels_ptr", "table_ptr", "row_starts_ptr", "row_weights_ptr", "column_starts_ptr"),
    *("column_weights_ptr", "slots_ptr", "patches_ptr"),
)
ARGUMENTS = {
    **{name: (1 << 40) + i for i, name in enumerate(POINTERS)},
    "width": 31,
    "row_stride": 1 << 33,
    "entries": 256,
    "row_taps": 5,
    "column_taps": 6,
    "grid_height": 6,
    "grid_width": 4,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every variant for every architecture."""
    folder = tmp_path_factory.mktemp("aot")
    compile_kernels(all_variants(), ARCHS, folder)
    return folder


@pytest.fixture(scope="module")
def manifest(folder: Path) -> KernelManifest:
    return read_manifest(folder)


def only(manifest: KernelManifest, name: str, arch: int) -> CompiledKernel:
    (kernel,) = (k for k in manifest.kernels if (k.name, k.arch) == (name, arch))
    return kernel


def test_all_architectures_are_compiled(manifest: KernelManifest) -> None:
    assert set(PTX_VERSIONS) == set(ARCHS)
    expected = [(variant.name, arch) for variant in all_variants() for arch in ARCHS]
    assert [(kernel.name, kernel.arch) for kernel in manifest.kernels] == expected
    assert {name.split("_")[0] for name, _ in expected} == {"preprocess", "projector"}


@pytest.mark.parametrize("arch", ARCHS)
def test_no_kernel_spills_registers(manifest: KernelManifest, arch: int) -> None:
    spilled = {k.name: k.spill_bytes for k in manifest.kernels if k.arch == arch and k.spill_bytes}
    assert not spilled


@pytest.mark.parametrize("arch", ARCHS)
def test_a_block_fits_into_a_multiprocessor(manifest: KernelManifest, arch: int) -> None:
    for kernel in manifest.kernels:
        if kernel.arch == arch:
            assert kernel.shared_bytes <= SHARED_LIMITS[arch], kernel.name
            assert kernel.registers * kernel.block_threads <= REGISTERS, kernel.name


def test_manifest_says_what_was_compiled(folder: Path, manifest: KernelManifest) -> None:
    variants = {variant.name: variant for variant in all_variants()}
    for kernel in manifest.kernels:
        variant = variants[kernel.name]
        names = [n for n in variant.fn.arg_names if n not in variant.constexprs]
        assert [name for name, _ in kernel.parameters] == names
        assert kernel.block_threads == 32 * variant.num_warps
        assert kernel.entry == variant.fn.__name__
        ptx = (folder / kernel.ptx.name).read_text()
        assert f".visible .entry {kernel.entry}(" in ptx
        assert f".target {kernel.target}" in ptx and f".version {kernel.ptx_version}" in ptx
        assert ptx.count("_param_") >= len(names) + kernel.trailing_pointers
        cubin = (folder / kernel.cubin.name).read_bytes()
        assert cubin.startswith(b"\x7fELF")
        assert (digest(ptx.encode()), digest(cubin)) == (kernel.ptx.sha256, kernel.cubin.sha256)
    written = {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert written == {f.name for kernel in manifest.kernels for f in (kernel.cubin, kernel.ptx)}


def test_trailing_pointers_are_there_and_not_used(folder: Path, manifest: KernelManifest) -> None:
    """Triton adds two; that no kernel reads them is why null is right."""
    for kernel in manifest.kernels:
        assert kernel.trailing_pointers == 2
        head, _, body = (folder / kernel.ptx.name).read_text().partition("\n{")
        for i in range(len(kernel.parameters), len(kernel.parameters) + 2):
            parameter = rf"{kernel.entry}_param_{i}\b"
            assert re.search(parameter, head) and not re.search(parameter, body), kernel.name


def test_the_same_sources_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    # One variant of each kernel: what could differ comes from the compiler and its settings.
    one_of_each = {variant.fn.__name__: variant for variant in all_variants()}
    assert len(one_of_each) == 3
    again = compile_kernels(one_of_each.values(), [90], tmp_path)
    for kernel in again.kernels:
        for file in (kernel.cubin, kernel.ptx):
            assert (tmp_path / file.name).read_bytes() == (folder / file.name).read_bytes()
            # A path of this machine would differ on the next.
            assert str(Path(__file__).parents[2]).encode() not in (folder / file.name).read_bytes()


def test_command_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    variants = [variant for variant in all_variants() if variant.name == KERNEL]
    monkeypatch.setattr("cxr_reason.kernels.aot.compile.all_variants", lambda: variants)
    main(["--arch", "80", "90", "--output", str(tmp_path / "new")])
    assert [k.arch for k in read_manifest(tmp_path / "new").kernels] == [80, 90]
    assert re.search(rf"{KERNEL} sm_90a: \d+ registers, 0 bytes spilled", capsys.readouterr().out)


def test_what_cannot_be_compiled_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"architectures \[70\]: known are \[80"):
        compile_kernels([], [70, 90], tmp_path)
    monkeypatch.setattr("triton.knobs.runtime.interpret", True)
    with pytest.raises(ValueError, match="TRITON_INTERPRET"):
        compile_kernels([], [90], tmp_path)


GOOD: dict[str, Any] = {
    "name": "k",
    "fn": None,
    "signature": {"x": "*fp32", "n": "i32", "BLOCK": "constexpr"},
    "constexprs": {"BLOCK": 8},
    "num_warps": 4,
    "num_stages": 1,
    "grid_rule": "cdiv(n, BLOCK), 1, 1",
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"constexprs": {}}, "constexprs are"),
        ({"signature": {**GOOD["signature"], "eps": "fp32"}}, "float scalars"),
        ({"aligned": ("BLOCK",)}, "no parameters"),
        ({"grid_rule": "n, 1"}, "three sizes"),
        ({"grid_rule": "m, 1, 1"}, "'m' is not"),
        ({"grid_rule": "n / 2, 1, 1"}, "'n / 2' is not"),
        ({"grid_rule": "open(n), 1, 1"}, "not an integer"),
    ],
)
def test_wrong_variants_are_refused(change: dict[str, Any], message: str) -> None:
    variant = KernelVariant(**GOOD)
    assert variant.bound_grid_rule == "(cdiv(n, 8), 1, 1)"
    with pytest.raises(ValueError, match=message):
        KernelVariant(**{**GOOD, **change})


def test_grid_rules() -> None:
    rule = "cdiv(a, 4) * b, (a + b) // 2 - 1, 3"
    assert evaluate_grid(rule, {"a": 9, "b": 3}) == (9, 5, 3)


def test_names_are_unique(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "cxr_reason.kernels.preprocess.triton_kernel"
    monkeypatch.setattr("cxr_reason.kernels.aot.variants._KERNEL_MODULES", (module, module))
    with pytest.raises(ValueError, match="two kernel variants are named"):
        all_variants()


class FakeDriver:
    """`fake_libcuda.c`, compiled."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._library = ctypes.CDLL(str(path))
        self._library.fake_log.restype = ctypes.c_char_p
        self._kept: list[bytes] = []

    def reset(self, *, capability: int = 90, has_context: bool = True, kinds: str = "") -> None:
        self._kept = [kinds.encode()]  # the library keeps the address
        self._library.fake_reset(capability, has_context, self._kept[0])

    def fail(self, name: str, code: int) -> None:
        self._kept.append(name.encode())
        self._library.fake_fail(self._kept[-1], code)

    @property
    def calls(self) -> list[str]:
        return str(self._library.fake_log().decode()).splitlines()


@pytest.fixture(scope="module")
def fake_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the fake driver")
    path = tmp_path_factory.mktemp("driver") / "libcuda_fake.so"
    source = Path(__file__).parents[1] / "support" / "fake_libcuda.c"
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(path), str(source)]
    subprocess.run(command, check=True)
    return path


@pytest.fixture
def fake(fake_library: Path) -> FakeDriver:
    driver = FakeDriver(fake_library)
    driver.reset()
    return driver


@pytest.fixture
def library(folder: Path, fake: FakeDriver) -> KernelLibrary:
    return KernelLibrary(folder, CudaDriver(str(fake.path)))


def test_launch_passes_what_the_kernel_expects(
    library: KernelLibrary, manifest: KernelManifest, fake: FakeDriver
) -> None:
    kernel = only(manifest, KERNEL, 90)
    kinds = "".join("4" if kind == "i32" else "8" for _, kind in kernel.parameters)
    fake.reset(kinds=kinds + "8" * kernel.trailing_pointers)
    library.launch(KERNEL, ARGUMENTS, stream=0x5)
    values = " ".join(str(ARGUMENTS[name]) for name, _ in kernel.parameters)
    assert fake.calls == [
        "cuModuleLoadData cubin",
        f"cuModuleGetFunction 0x10 {kernel.entry}",
        # 6 rows of patches, two to a tile, and 4 columns.
        f"cuLaunchKernel 0xf0 grid 4 3 1 block {kernel.block_threads} 1 1 "
        f"shared {kernel.shared_bytes} stream 0x5 extra (nil): {values} 0 0",
    ]
    library.launch(KERNEL, ARGUMENTS)
    assert [call.split()[0] for call in fake.calls[3:]] == ["cuLaunchKernel"]  # loaded already


def test_more_than_48_kib_of_shared_memory_are_asked_for(
    library: KernelLibrary, manifest: KernelManifest, fake: FakeDriver
) -> None:
    kernels = [kernel for kernel in manifest.kernels if kernel.arch == 90]
    assert {kernel.shared_bytes > 48 * KIB for kernel in kernels} == {True, False}
    for kernel in kernels:
        fake.reset()
        library.launch(kernel.name, {name: 16 for name, _ in kernel.parameters})
        asked = [call for call in fake.calls if call.startswith("cuFuncSetAttribute")]
        wanted = [f"cuFuncSetAttribute 0xf0 8={kernel.shared_bytes}"]
        assert asked == (wanted if kernel.shared_bytes > 48 * KIB else []), kernel.name


def test_without_a_context_the_first_device_is_used(
    library: KernelLibrary, fake: FakeDriver
) -> None:
    fake.reset(has_context=False)
    library.launch(KERNEL, ARGUMENTS)
    assert fake.calls[:2] == ["cuDevicePrimaryCtxRetain 0", "cuCtxSetCurrent 0xc1"]


def test_a_newer_device_compiles_the_ptx(
    library: KernelLibrary, manifest: KernelManifest, fake: FakeDriver, folder: Path
) -> None:
    fake.reset(capability=103)
    library.launch(KERNEL, ARGUMENTS)
    size = (folder / only(manifest, KERNEL, 89).ptx.name).stat().st_size
    assert fake.calls[0] == f"cuModuleLoadData ptx of {size} bytes"


@pytest.mark.parametrize(
    ("archs", "capability", "chosen"),
    [
        ((80, 86, 90), 80, "80.cubin"),
        ((80, 86, 90), 89, "86.cubin"),  # same major version
        ((80, 90), 90, "90.cubin"),
        ((80, 89, 90), 100, "89.ptx"),  # sm_90a runs on 9.0 only
        ((90, 100), 100, "100.cubin"),
        ((80,), 121, "80.ptx"),
        ((90,), 100, None),
        ((86,), 80, None),
        ((80,), 75, None),
    ],
)
def test_which_file_runs_on_which_device(
    manifest: KernelManifest, archs: tuple[int, ...], capability: int, chosen: str | None
) -> None:
    kernels = [only(manifest, KERNEL, arch) for arch in archs]
    if chosen is None:
        with pytest.raises(EngineError, match=rf"compiled for .*\({capability // 10}\.\d\): add"):
            choose_file(kernels, capability)
    else:
        assert choose_file(kernels, capability)[1].name == f"{KERNEL}.sm_{chosen}"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"width": None}, TypeError, r"missing \['width'\], unknown \[\]"),
        ({"extra": 1}, TypeError, r"missing \[\], unknown \['extra'\]"),
        ({"width": 1 << 31}, ValueError, "width=2147483648 is no i32"),
        ({"pixels_ptr": -1}, ValueError, "pixels_ptr=-1 is no"),
    ],
)
def test_wrong_arguments_are_refused(
    library: KernelLibrary, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    changed = {**ARGUMENTS, **change}
    arguments = {name: value for name, value in changed.items() if value is not None}
    with pytest.raises(error, match=message):
        library.launch(KERNEL, arguments)


def test_alignment_is_checked(library: KernelLibrary) -> None:
    arguments = dict.fromkeys(ARGUMENTS, 16)
    library.launch("preprocess_fp16_aligned", arguments)
    with pytest.raises(ValueError, match="width must be a multiple of 16, got 24"):
        library.launch("preprocess_fp16_aligned", {**arguments, "width": 24})


def test_driver_errors_have_their_call_and_reason(library: KernelLibrary, fake: FakeDriver) -> None:
    fake.fail("cuLaunchKernel", 701)
    with pytest.raises(EngineError, match=r"cuLaunchKernel failed with 701 \(a reason\)"):
        library.launch(KERNEL, ARGUMENTS)
    fake.fail("cuInit", 100)
    with pytest.raises(EngineError, match="cuInit failed with 100"):
        CudaDriver(str(fake.path))


@pytest.mark.parametrize("name", ["libnowhere.so.1", "libm.so.6"])
def test_a_missing_driver_is_reported(name: str) -> None:
    with pytest.raises(EngineError, match=f"no NVIDIA driver: {name}"):
        CudaDriver(name)


def test_unknown_names_are_reported(library: KernelLibrary) -> None:
    assert KERNEL in library.names
    with pytest.raises(EngineError, match="no compiled kernel 'other'"):
        library.launch("other", {})


def spoil(change: Callable[[Path], object], folder: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    change(copy)
    return copy


def test_altered_files_are_refused(folder: Path, fake: FakeDriver, tmp_path: Path) -> None:
    name = f"{KERNEL}.sm_90.cubin"
    copy = spoil(lambda copy: (copy / name).write_bytes(b"\x7fELF"), folder, tmp_path)
    with pytest.raises(ArtifactError, match="missing or altered"):
        KernelLibrary(copy, CudaDriver(str(fake.path))).launch(KERNEL, ARGUMENTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no compiled kernels"),
        ("{", "is damaged"),
        (json.dumps({"format_version": 0}), "has format 0"),
        (json.dumps({"format_version": 1, "triton_version": "", "kernels": [{}]}), "is damaged"),
    ],
)
def test_a_manifest_that_cannot_be_read(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ArtifactError, match=message):
        read_manifest(tmp_path)


def test_installed_kernels_are_looked_for_in_the_package() -> None:
    assert BINARIES.name == "binaries" and BINARIES.parent.name == "aot"
    if not (BINARIES / "manifest.json").is_file():
        with pytest.raises(ArtifactError, match="CXR_CUDA_ARCHS"):
            KernelLibrary.installed()


def test_manifest_survives_writing(tmp_path: Path, manifest: KernelManifest) -> None:
    manifest.write(tmp_path)
    assert read_manifest(tmp_path) == manifest
    assert isinstance(manifest.kernels[0].cubin, File)


def test_loading_needs_neither_triton_nor_torch(folder: Path, fake: FakeDriver) -> None:
    code = f"""
import sys
sys.modules["torch"] = sys.modules["triton"] = sys.modules["numpy"] = None
from pathlib import Path
from cxr_reason.kernels.aot.driver import CudaDriver
from cxr_reason.kernels.aot.loader import KernelLibrary
print(len(KernelLibrary(Path({str(folder)!r}), CudaDriver({str(fake.path)!r})).names))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) == len(all_variants())
