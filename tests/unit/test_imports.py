"""Imports point one way, light modules stay light, and no name is taken from another package."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxr_reason.extras import MODULES

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "src" / "cxr_reason"

# What every part may import: the definitions that the parts share.
VOCABULARY = {
    *("errors", "extras", "settings", "contract", "findings", "prompts", "checkpoint", "usage"),
}

# Part → the parts it may import. A part is a module or a folder right below the package; it may
# always import itself and the package's version. A new part needs a line here.
DIRECTIONS: dict[str, set[str]] = {
    # `load` and `connect` of the package itself, which import when they are called.
    "": {"client", "engine", "errors", "reading", "settings"},
    "errors": set(),
    "extras": {"errors"},
    "settings": {"errors"},
    "contract": {"settings"},
    "findings": set(),
    "usage": set(),
    "prompts": {"errors", "contract"},
    "checkpoint": {"errors"},
    "film": VOCABULARY,
    "statements": VOCABULARY,
    "kernels": {"errors"},
    "engine": {*VOCABULARY, "kernels"},
    "reading": {*VOCABULARY, "statements", "film"},
    # Of `engine` and `reader` only what the transport to an engine in this process loads lazily.
    "client": {*VOCABULARY, "engine", "film", "reader", "reading", "statements"},
    "reader": {*VOCABULARY, "film", "kernels", "engine", "reading"},
    "serving": {*VOCABULARY, "engine", "film", "reader", "reading"},
    "gateway": {*VOCABULARY, "client", "reading", "film"},
    "data": {*VOCABULARY, "film", "statements"},
    "training": {*VOCABULARY, "data", "film", "kernels", "reader", "reading", "statements"},
    "evaluation": {
        *VOCABULARY,
        *("client", "data", "engine", "film", "kernels", "reader", "reading", "statements"),
        "training",
    },
    "cli": {
        *VOCABULARY,
        *("client", "data", "engine", "evaluation", "film", "gateway", "kernels", "reader"),
        *("reading", "serving", "training", "benchmarks"),
    },
    "__main__": {"cli"},
    "benchmarks": {
        *VOCABULARY,
        *("client", "data", "engine", "evaluation", "film", "gateway", "kernels", "reader"),
        *("reading", "serving", "statements", "training"),
    },
}

# Part or module → the only distributions it may import, at any depth. What is not listed may
# import any.
THIRD_PARTY: dict[str, set[str]] = {
    **{part: set() for part in VOCABULARY - {"checkpoint"}},
    **{part: set() for part in ("statements", "reading", "film.info", "film.source")},
    "evaluation.result_line": set(),
    "checkpoint": {"huggingface_hub", "safetensors", "torch"},
    "film.display_table": {"numpy"},
    # gRPC and protobuf come with tritonclient; typing_extensions is for type checkers alone.
    "client": {"numpy", "tritonclient", "grpc", "google", "typing_extensions"},
}

# Part → distributions it may import nowhere, not even inside a function.
FORBIDDEN: dict[str, set[str]] = {
    "kernels": {"transformers", "onnxruntime", "tritonclient"},
    "engine": {"tritonclient", "triton_python_backend_utils", "pydicom"},
    "serving": {"torch", "transformers", "onnx", "onnxruntime", "onnxruntime_genai"},
}

BARE = {"benchmarks", "engine", "kernels", "training"}
MAX_LINES = 400

# Modules that a client imports, and parts of the engine that describe and do not compute.
LIGHT = [
    "cxr_reason",
    "cxr_reason.errors",
    "cxr_reason.contract",
    "cxr_reason.findings",
    "cxr_reason.film.info",
    "cxr_reason.reading.trace",
    "cxr_reason.statements",
    "cxr_reason.reading.audit",
    "cxr_reason.reading.reading",
    "cxr_reason.prompts",
    "cxr_reason.checkpoint",
    "cxr_reason.client",
    "cxr_reason.engine",
    "cxr_reason.engine.artifact",
    "cxr_reason.engine.base",
    "cxr_reason.engine.config",
    "cxr_reason.engine.registry",
    "cxr_reason.kernels",
    "cxr_reason.kernels.preprocess",
    "cxr_reason.serving",
    "cxr_reason.cli.render",
    "cxr_reason.cli.main",
]
# Import names of what the extras `build` and `server` bring (pyproject.toml).
ONLY_FOR_BUILD = {
    *("torch", "torchvision", "transformers", "safetensors", "huggingface_hub"),
    *("onnx", "onnx_ir", "onnxscript", "onnxruntime_genai"),
}
ONLY_FOR_SERVER = {
    *("imagecodecs", "jinja2", "onnxruntime", "PIL", "psutil", "pydicom", "tokenizers"),
    *("pytriton", "triton_python_backend_utils"),
}


def package_files() -> Iterator[Path]:
    """Yield the package's modules, through the links that hold its parts."""
    for folder, subfolders, names in os.walk(PACKAGE, followlinks=True):
        # Triton loads these by path; a test of their own is below.
        subfolders[:] = sorted({*subfolders} - {"__pycache__", "model_repository"})
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py"))


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """Return the part that a module of the package belongs to; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


FILES = {module_name(file): file for file in package_files()}
PARTS = {part_of(name) for name in FILES} - {""}


def imported_names(source: str, module: str, *, is_package: bool = False) -> set[str]:
    """Return the dotted names of all modules that a source imports, wherever it does so.

    Args:
        source: Python source.
        module: Its dotted name, which relative imports start from.
        is_package: It is an `__init__.py`.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                kept = len(parents) - node.level + is_package
                base = ".".join([*parents[:kept], *([base] if base else [])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            # `from cxr_reason import trace` imports a module, `… import __version__` does not.
            found |= {name for name in names if part_of(name) in DIRECTIONS} or {base}
    return found


class Anything(set[str]):
    """Holds every name."""

    def __contains__(self, name: object) -> bool:
        return True


def third_party_of(module: str) -> set[str]:
    """Return the distributions that a module may import."""
    within = module.partition(".")[2]
    return THIRD_PARTY.get(within, THIRD_PARTY.get(part_of(module), Anything()))


def wrong_imports(source: str, module: str, *, is_package: bool = False) -> set[str]:
    """Return what a module of the package imports against the tables."""
    part = part_of(module)
    wrong = set()
    for name in imported_names(source, module, is_package=is_package):
        top = name.partition(".")[0]
        if top == PACKAGE.name:
            other = part_of(name)
            if other and other != part and other not in DIRECTIONS.get(part, set()):
                wrong.add(name)
        elif top not in sys.stdlib_module_names and (
            top in FORBIDDEN.get(part, set()) or top not in third_party_of(module) or not part
        ):
            wrong.add(name)
    return wrong


def run_python(code: str, cwd: Path) -> str:
    """Run code in a new interpreter that is not in the repository; return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_every_part_is_in_the_table() -> None:
    unknown = PARTS - set(DIRECTIONS)
    assert not unknown
    assert {"engine", "kernels", "serving", "client"} <= PARTS, "a link is broken"


def test_imports_point_one_way() -> None:
    wrong = {}
    for module, file in FILES.items():
        source = file.read_text(encoding="utf-8")
        names = wrong_imports(source, module, is_package=file.name == "__init__.py")
        if names:
            wrong[module] = sorted(names)
    assert not wrong, "these imports are not allowed: see the tables in this file"


def imported_modules(module: str) -> set[str]:
    """Return the modules of the package that a module imports, for types alone too."""
    file = FILES[module]
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import module` is of the module; all else of the package itself.
            found |= {name if name in FILES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in FILES} - {module, PACKAGE.name}


def test_no_modules_import_each_other() -> None:
    left = {module: imported_modules(module) for module in FILES}
    while left:
        free = {module for module, imported in left.items() if not imported & set(left)}
        if not free:
            break
        left = {module: names for module, names in left.items() if module not in free}
    # What is left is on a cycle or imports one; only the former also have an importer left.
    while ends := set(left) - set().union(set(), *left.values()):
        left = {module: names for module, names in left.items() if module not in ends}
    assert not left, f"a cycle of imports among {sorted(left)}"


def test_table_has_no_cycle() -> None:
    left = {part: {*allowed} - {part} for part, allowed in DIRECTIONS.items()}
    while left:
        free = {part for part, allowed in left.items() if not allowed & set(left)}
        assert free, f"cycle among {sorted(left)}"
        left = {part: allowed for part, allowed in left.items() if part not in free}


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("cxr_reason.engine.a", "import cxr_reason.serving.b", {"cxr_reason.serving.b"}),
        ("cxr_reason.engine.a", "from cxr_reason.client import C", {"cxr_reason.client.C"}),
        ("cxr_reason.engine.a", "from cxr_reason import client", {"cxr_reason.client"}),
        ("cxr_reason.engine.a", "from ..serving import b", {"cxr_reason.serving.b"}),
        (
            "cxr_reason.engine.a",
            "def f():\n    import cxr_reason.cli.main",
            {"cxr_reason.cli.main"},
        ),
        ("cxr_reason.engine.a", "from . import b", set()),
        ("cxr_reason.engine.a", "from cxr_reason.kernels.preprocess import preprocess", set()),
        ("cxr_reason.engine.a", "from cxr_reason import __version__", set()),
        ("cxr_reason.kernels.a", "from cxr_reason import engine", {"cxr_reason.engine"}),
        ("cxr_reason.client.a", "import torch.nn as nn", {"torch.nn"}),
        ("cxr_reason.client.a", "from pydicom import dcmread", {"pydicom"}),
        ("cxr_reason.serving.a", "def f():\n    from torch import nn", {"torch"}),
        ("cxr_reason.reading.trace", "import numpy", {"numpy"}),
        ("cxr_reason", "import numpy", {"numpy"}),
        ("cxr_reason.gateway.a", "from cxr_reason.engine import base", {"cxr_reason.engine.base"}),
    ],
)
def test_the_check_itself(module: str, source: str, wrong: set[str]) -> None:
    assert wrong_imports(source, module) == wrong


@pytest.mark.parametrize(
    "file",
    sorted((REPOSITORY / "model_repository").glob("*/1/model.py")),
    ids=lambda file: file.parents[1].name,
)
def test_triton_models_only_hand_over(file: Path) -> None:
    source = file.read_text(encoding="utf-8")
    for name in imported_names(source, "model"):
        top = name.partition(".")[0]
        assert (
            top in sys.stdlib_module_names
            or name == "triton_python_backend_utils"
            or name.startswith("cxr_reason.serving.")
        ), name
    assert len(source.splitlines()) <= 60


def test_the_package_alone_loads_no_library(tmp_path: Path) -> None:
    libraries = {"numpy", "pydicom", "tritonclient"}
    code = f"import sys, cxr_reason\nprint(*sorted({libraries!r} & set(sys.modules)))"
    assert run_python(code, tmp_path) == ""
    assert run_python("import cxr_reason\nprint(cxr_reason.Client.__name__)", tmp_path) == "Client"


def encodes_films(source: str) -> bool:
    """Return whether a source goes from pixels to visual tokens by itself."""
    called = {
        node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
    }
    return "fit_grid" in called and "preprocess" in called


def test_one_way_from_film_to_visual_tokens() -> None:
    found = {
        module for module, file in FILES.items() if encodes_films(file.read_text(encoding="utf-8"))
    }
    assert found == {"cxr_reason.reader.encoder"}


def test_light_modules_load_nothing_heavy(tmp_path: Path) -> None:
    # In one interpreter: what none of them loads, no single one does.
    heavy = ONLY_FOR_BUILD | ONLY_FOR_SERVER
    code = f"import sys, {', '.join(LIGHT)}\nprint(*sorted({heavy!r} & set(sys.modules)))"
    assert run_python(code, tmp_path) == ""


def import_without(absent: set[str], modules: list[str], cwd: Path) -> None:
    """Import the modules in an interpreter where the distributions in `absent` are missing."""
    code = f"""
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
for name in {modules!r}:
    importlib.import_module(name)
"""
    run_python(code, cwd)


def test_serving_and_the_onnx_backend_need_only_the_extra_server(tmp_path: Path) -> None:
    modules = [name for name in FILES if part_of(name) == "serving"]
    modules += ["cxr_reason.engine.onnx.engine", "cxr_reason.film.radiograph"]
    import_without(ONLY_FOR_BUILD, modules, tmp_path)


def test_client_and_every_word_of_the_command_need_no_extra(tmp_path: Path) -> None:
    modules = ["cxr_reason.client", *(name for name in FILES if part_of(name) == "cli")]
    absent = {name for extra in MODULES.values() for name in extra}
    import_without(absent | {"triton_python_backend_utils"}, modules, tmp_path)


def test_no_two_classes_share_a_name() -> None:
    homes: dict[str, list[str]] = {}
    for module, file in FILES.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module)
    assert not {name: modules for name, modules in homes.items() if len(modules) > 1}


def test_long_modules_say_why() -> None:
    """Over 400 lines a module is split, or its docstring says `One module because …` early on."""
    unexplained = []
    for module, file in FILES.items():
        source = file.read_text(encoding="utf-8")
        if len(source.splitlines()) > MAX_LINES:
            docstring = ast.get_docstring(ast.parse(source)) or ""
            if "One module because " not in " ".join(docstring.splitlines()[:6]):
                unexplained.append(module)
    assert not unexplained, f"over {MAX_LINES} lines"


def repository_sources() -> Iterator[Path]:
    for folder, subfolders, names in os.walk(REPOSITORY):
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not name.startswith(".") and name not in ("__pycache__", "build", "dist")
        )
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py"))


def test_no_source_uses_a_bare_name() -> None:
    """`kernels` is another distribution; `engine` depends on the working directory."""
    found = {
        f"{file.relative_to(REPOSITORY)}: {name}"
        for file in repository_sources()
        for name in imported_names(file.read_text(encoding="utf-8"), "module")
        if name.partition(".")[0] in BARE
    }
    assert not found


def test_bare_names_find_nothing_of_ours(tmp_path: Path) -> None:
    code = (
        "from importlib.util import find_spec\n"
        f"specs = [find_spec(name) for name in {sorted(BARE)!r}]\n"
        "print(*(spec.origin for spec in specs if spec))"
    )
    assert str(REPOSITORY) + os.sep not in run_python(code, tmp_path).replace(sys.prefix, "")


def test_no_module_hides_a_part_or_stands_beside_the_package() -> None:
    beside = {path.name for path in PACKAGE.parent.iterdir()} - {"__pycache__"}
    assert {name for name in beside if not name.endswith(".egg-info")} == {PACKAGE.name}
    for name in BARE:
        assert not (PACKAGE / f"{name}.py").exists()
        assert not any((REPOSITORY / place / f"{name}.py").exists() for place in ("", "tests"))


def test_links_are_relative_and_stay_in_the_repository() -> None:
    links = [path for path in (*PACKAGE.iterdir(), *PACKAGE.glob("*/*")) if path.is_symlink()]
    assert {link.name for link in links} >= {"engine", "kernels"}
    for link in links:
        assert not os.path.isabs(os.readlink(link)), link.name
        assert link.resolve().is_relative_to(REPOSITORY) and link.is_dir(), link.name
