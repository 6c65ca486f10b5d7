"""Every name and argument of TensorRT-LLM and TensorRT in our code exists where NVIDIA says so."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
BACKEND = REPOSITORY / "engine" / "trtllm"
TABLE: dict[str, Any] = json.loads(
    (REPOSITORY / "tests" / "support" / "trtllm_stand_in" / "signatures.json").read_text()
)
NAMES_11: dict[str, list[str]] = json.loads(
    (REPOSITORY / "tests" / "support" / "tensorrt_names_11.4.json").read_text()
)
FILES = sorted(BACKEND.glob("*.py"))

# Variables of our code → TensorRT's class. A new one gets its line here.
INSTANCES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "engine": "ICudaEngine",
    "self._context": "IExecutionContext",
    "self._runtime": "Runtime",
}
TENSORRT_FILES = [BACKEND / "build_vision.py", BACKEND / "vision.py", BACKEND / "plugins.py"]


def imports_of(tree: ast.Module, package: str) -> Iterator[tuple[str, str]]:
    """Yield module and name of everything imported from a package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == package:
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            assert package != "tensorrt_llm" or not [n for n in names if n.startswith(package)]


def calls_of(tree: ast.Module) -> Iterator[tuple[str, list[str | None]]]:
    """Yield the name of each called function, class or method, and its keywords."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, [keyword.arg for keyword in node.keywords]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            place = ast.unparse(node.func).replace("self._llm", "LLM")
            yield place, [keyword.arg for keyword in node.keywords]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_names_and_arguments_are_in_the_table(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for module, name in imports_of(tree, "tensorrt_llm"):
        assert name in TABLE["names"].get(module, []), f"{module}.{name}"
    for name, keywords in calls_of(tree):
        if name.startswith("LLM.") or name in TABLE["arguments"]:
            # `**` has no name here: the stand-in refuses what it brings.
            unknown = {keyword for keyword in keywords if keyword} - set(TABLE["arguments"][name])
            assert not unknown, f"{name}: {unknown}"


def test_the_check_sees_what_it_should() -> None:
    """The backend's files use the names that the table lists, so the test above is not empty."""
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in FILES]
    found = {name for tree in trees for _, name in imports_of(tree, "tensorrt_llm")}
    assert found == {name for names in TABLE["names"].values() for name in names}
    called = {name for tree in trees for name, _ in calls_of(tree)}
    assert set(TABLE["arguments"]) <= called
    for name in ("abort", "outputs"):
        assert name in TABLE["results"]["RequestOutput"]
    for name in ("token_ids", "finish_reason"):
        assert name in TABLE["results"]["CompletionOutput"]


def test_nothing_uses_the_engine_flow_that_was_removed() -> None:
    for file in FILES:
        source = file.read_text(encoding="utf-8")
        for gone in ("tensorrt_llm.builder", "trtllm-build", "ModelRunner", "BuildConfig"):
            assert gone not in source, f"{file.name}: {gone}"


def tensorrt_names() -> dict[str, set[str]]:
    """Return what our code uses of TensorRT: class or "" → names."""
    used: dict[str, set[str]] = {"": set(), "plugin": set()}
    for file in TENSORRT_FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Attribute):
                continue
            place = ast.unparse(node.value)
            if place == "trt":
                used[""].add(node.attr)
            elif place.startswith("trt."):
                used.setdefault(place.removeprefix("trt."), set()).add(node.attr)
            elif place == "trtp":
                used["plugin"].add(node.attr)
            elif place in INSTANCES:
                used.setdefault(INSTANCES[place], set()).add(node.attr)
    return used


def test_tensorrt_names_exist_in_release_11() -> None:
    """The list was written from the bindings of 11.4.0.106, package tensorrt_cu12_bindings."""
    for place, names in tensorrt_names().items():
        missing = names - set(NAMES_11[place])
        assert not missing, f"{place}: {missing}"


STUB = """\
#define S(n) void* n(void) { return 0; }
S(createInferBuilder_INTERNAL) S(createInferRefitter_INTERNAL) S(createInferRuntime_INTERNAL)
S(createNvOnnxParser_INTERNAL) S(createNvOnnxParserRefitter_INTERNAL)
S(getBuilderPluginRegistry) S(getPluginRegistry) S(initLibNvInferPlugins)
int getNvOnnxParserVersion(void) { return 0; }
"""
LIBRARIES = ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10")


@pytest.fixture(scope="module")
def bindings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """NVIDIA's own bindings of 10.14 over empty libraries: all of Python, nothing of CUDA."""
    folder = tmp_path_factory.mktemp("tensorrt")
    (folder / "stub.c").write_text(STUB)
    for name in LIBRARIES:
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name)]
        subprocess.run([*command, str(folder / "stub.c")], check=True)
    package = folder / "tensorrt"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import sys\n"
        "import tensorrt_bindings\n"
        "from tensorrt_bindings import *\n"
        "from tensorrt_bindings import __version__\n"
        "from unittest.mock import MagicMock\n"
        # Without a library there is no registry; registering is all that plugins do with it.
        "get_plugin_registry = lambda: MagicMock(plugin_creator_list=[], all_creators=[])\n"
        "tensorrt_bindings.get_plugin_registry = get_plugin_registry\n"
        "sys.modules['tensorrt_bindings'].DataType = tensorrt_bindings.DataType\n"
    )
    (package / "plugin.py").write_text("from tensorrt_bindings.plugin import *\n")
    return {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder)}


def run(code: str, environment: dict[str, str]) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_tensorrt_names_exist_in_release_10_14(bindings: dict[str, str]) -> None:
    used = {place: sorted(names) for place, names in tensorrt_names().items()}
    code = f"""
import functools, json, tensorrt as trt, tensorrt.plugin as trtp
for place, names in {used!r}.items():
    owner = trtp if place == "plugin" else functools.reduce(
        getattr, place.split(".") if place else [], trt)
    for name in names:
        assert hasattr(owner, name), (place, name)
print(trt.__version__)
"""
    assert run(code, bindings).splitlines()[-1].startswith("10.14.")


def test_the_plugins_pass_tensorrts_own_checks(bindings: dict[str, str]) -> None:
    code = """
from cxr_reason.engine.trtllm import plugins
from tensorrt.plugin import op
print(*sorted(name for name in vars(op.cxr) if not name.startswith("_")))
"""
    assert run(code, bindings).split()[-3:] == ["preprocess", "projector_fc1", "projector_fc2"]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("merge_order: trtp.TensorDesc,\n    outputs", "outputs"),
        ('@trtp.aot_impl("cxr::projector_fc2")', '@trtp.aot_impl("cxr::projector_fc3")'),
        ("bias: trtp.TensorDesc", "bias: int"),
    ],
)
def test_tensorrts_checks_refuse_a_wrong_definition(
    bindings: dict[str, str], tmp_path: Path, right: str, wrong: str
) -> None:
    source = (BACKEND / "plugins.py").read_text(encoding="utf-8")
    assert right in source
    (tmp_path / "spoilt.py").write_text(source.replace(right, wrong, 1))
    paths = f"{bindings['PYTHONPATH']}{os.pathsep}{tmp_path}"
    with pytest.raises(AssertionError, match=r"Error"):
        run("import spoilt", {**bindings, "PYTHONPATH": paths})


def test_kernels_take_what_tensorrt_passes() -> None:
    """Inputs, integers, outputs, then two pointers of Triton's own that no kernel may need."""
    from cxr_reason.engine.trtllm import plugin_kernels

    fc1 = plugin_kernels.find_configs("fc1", 1280, 5120)
    fc2 = plugin_kernels.find_configs("fc2", 5120, 2048)
    kernels = {
        5 + 1 + 2: plugin_kernels.compile_fc1(90, 1280, fc1[0]),
        4 + 1 + 1: plugin_kernels.compile_fc2(90, 1280, 2048, fc2[0]),
        7 + 6 + 1: plugin_kernels.compile_preprocess(90),
    }
    for count, kernel in kernels.items():
        assert kernel.num_parameters == count + 2
        assert f".entry {kernel.name}(" in kernel.ptx
        for number in (count, count + 1):
            assert kernel.ptx.count(f"{kernel.name}_param_{number}") == 1, "declared, never read"
        assert kernel.shared_bytes <= 99 * 1024
