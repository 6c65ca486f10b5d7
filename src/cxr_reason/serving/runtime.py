"""Where a `tritonserver` comes from: PATH first, else the wheel `nvidia-pytriton`.

In NVIDIA's container everything is in place. The wheel's server needs a folder of its own with
the Python backend and the stub for this interpreter, and three corrections:

- its stub starts an isolated interpreter, which ignores PYTHONPATH and knows nothing of a virtual
  environment: the one module that it always imports gets a few lines that set `sys.path`;
- it loads libpython and the wheel's libraries by name only: LD_LIBRARY_PATH must lead to them;
- with numpy 2 its tensors arrive corrupted, without an error: refused here.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import shutil
import site
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cxr_reason.errors import MissingExtraError, ServerError
from cxr_reason.extras import install_line

SITE_DIRS_VARIABLE = "CXR_SITE_DIRS"

# The folders of this environment replace the base interpreter's: that may hold another numpy.
# `addsitedir` and not `sys.path`: an editable install is a .pth file.
_SITE_SETUP = f"""\
import os as _os, site as _site, sys as _sys
_sys.path[:] = [_p for _p in _sys.path if _p.rpartition("/")[2] not in ("site-packages", "dist-packages")]
for _p in _os.environ["{SITE_DIRS_VARIABLE}"].split(_os.pathsep):
    _site.addsitedir(_p)
"""  # noqa: E501


@dataclass(frozen=True)
class Runtime:
    """A `tritonserver` that can run Python models of this environment.

    Attributes:
        executable: The program.
        arguments: What it needs besides the caller's own.
        environment: Variables it needs besides the caller's own.
    """

    executable: Path
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


def find_runtime(folder: Path) -> Runtime:
    """Return the server on PATH, or else prepare the wheel's.

    Args:
        folder: An empty folder for what the wheel's server needs (3 MB); the caller removes it.

    Raises:
        ServerError: There is no server, or this environment cannot run it. Says what to do.
    """
    on_path = shutil.which("tritonserver")
    if on_path is not None:
        return Runtime(Path(on_path))
    package = importlib.util.find_spec("pytriton")
    if package is None or package.origin is None:
        raise MissingExtraError(
            "serve: no tritonserver on PATH, and nvidia-pytriton is not installed: run inside "
            f"NVIDIA's Triton container, or in a clone on Linux {install_line('server')}"
        )
    _check_numpy()
    wheel = Path(package.origin).parent
    return _prepare(wheel, folder)


def _prepare(wheel: Path, folder: Path) -> Runtime:
    server = wheel / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        known = sorted(path.name for path in stub.parents[1].iterdir())
        raise ServerError(
            f"nvidia-pytriton has no stub for Python {version}; use one of {', '.join(known)}"
        )
    backend = folder / "python"
    shutil.copytree(
        server / "backends" / "python", backend, ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy2(stub, backend)
    utilities = backend / "triton_python_backend_utils.py"
    utilities.write_text(_SITE_SETUP + utilities.read_text(encoding="utf-8"), encoding="utf-8")
    libraries = [_libpython_folder(), wheel.parent / "nvidia_pytriton.libs"]
    return Runtime(
        executable=server / "bin" / "tritonserver",
        arguments=(f"--backend-directory={folder}",),
        environment={
            SITE_DIRS_VARIABLE: os.pathsep.join(_site_dirs()),
            "LD_LIBRARY_PATH": _prepend(libraries, "LD_LIBRARY_PATH"),
            # The stub's interpreter looks for its standard library beside the first `python3`.
            "PATH": _prepend([Path(sys.base_prefix) / "bin"], "PATH"),
        },
    )


def _check_numpy() -> None:
    if int(np.__version__.partition(".")[0]) >= 2:
        raise ServerError(
            f"numpy {np.__version__} is installed; with the Triton server of nvidia-pytriton "
            "tensors of numpy 2 arrive corrupted: `pip install 'numpy<2'`"
        )


def _libpython_folder() -> Path:
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    folder = Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib")
    folders = [
        folder,
        folder / (sysconfig.get_config_var("MULTIARCH") or ""),
        Path(sys.base_prefix) / "lib",
    ]
    for candidate in folders:
        if (candidate / name).is_file():
            return candidate
    if ctypes.util.find_library(name.removeprefix("lib").partition(".so")[0]) == name:
        return folder  # the loader finds it by itself
    raise ServerError(
        f"Triton's Python backend needs {name} and this Python has none: install the package "
        "libpython3 of your system, or a Python built with --enable-shared"
    )


def _site_dirs() -> list[str]:
    dirs = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        dirs.append(site.getusersitepackages())
    return [path for path in dirs if Path(path).is_dir()]


def _prepend(folders: list[Path], variable: str) -> str:
    rest = [os.environ[variable]] if os.environ.get(variable) else []
    return os.pathsep.join([*map(str, folders), *rest])
