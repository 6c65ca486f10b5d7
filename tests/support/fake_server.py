"""A model repository whose models are the real ones of this package over the fake engine."""

from __future__ import annotations

import shutil
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
NUM_SLOTS, MAX_QUEUE = 2, 4

_HEADER = f"""\
import triton_python_backend_utils as pb_utils
import runpy
FakeEngine = runpy.run_path({str(HERE / "fake_engine.py")!r})["FakeEngine"]
"""

_CLASS = """
class TritonPythonModel:
    def initialize(self, args):
        self._model = make_model()

    def execute(self, requests):
        return self._model.execute(requests)

    def finalize(self):
        self._model.close()
"""

_MODELS = {
    "preprocess": """
from cxr_reason.kernels.preprocess import PixelBudget
from cxr_reason.reader.encoder import FilmPreprocessor
from cxr_reason.serving.preprocess import Preprocessor
from cxr_reason.serving.unary import UnaryModel

def make_model():
    return UnaryModel(pb_utils, Preprocessor(FilmPreprocessor(PixelBudget())))
""",
    "vision": """
from cxr_reason.serving.unary import UnaryModel
from cxr_reason.serving.vision import VisionEncoder

def make_model():
    return UnaryModel(pb_utils, VisionEncoder(FakeEngine()))
""",
    "reason": f"""
from pathlib import Path
from cxr_reason.engine.config import EngineConfig
from cxr_reason.serving.settings import ServingSettings
from cxr_reason.serving.streaming import StreamingModel

def make_model():
    config = EngineConfig(max_batch={NUM_SLOTS}, max_queue={MAX_QUEUE})
    engine = FakeEngine(num_slots={NUM_SLOTS}, max_queue={MAX_QUEUE}, step_s=0.02)
    return StreamingModel(pb_utils, engine, ServingSettings(Path("none"), config))
""",
}


def write_repository(folder):
    """Write the repository into `folder` and return it."""
    repository = folder / "models"
    shutil.copytree(HERE.parents[1] / "model_repository", repository)
    for name, text in _MODELS.items():
        (repository / name / "1" / "model.py").write_text(_HEADER + text + _CLASS)
    return repository


def read_metric(server, name):
    """Return the value of one metric; `name` with its labels."""
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as page:
        for line in page.read().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
    raise KeyError(name)
