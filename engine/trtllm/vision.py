"""Runs `vision.plan`: patches of one film → visual tokens, on a GPU."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr_reason.engine.artifact import Manifest
from cxr_reason.engine.base import Array
from cxr_reason.engine.vision_input import VISUAL_TOKENS, make_vision_feeds
from cxr_reason.errors import ArtifactError, GenerationError

VISION_PLAN = "vision.plan"


class TrtVision:
    """Vision tower and projector as a TensorRT engine. Calls from several threads are safe.

    Raises:
        ArtifactError: The artifact has no plan, or one of another TensorRT or GPU.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        import tensorrt as trt

        self._shape = manifest.shape
        path = folder / VISION_PLAN
        if not path.is_file():
            raise ArtifactError(
                f"engine: no {VISION_PLAN}, which this release of TensorRT-LLM needs: build the "
                "engine again where it is installed"
            )
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
        engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise ArtifactError(
                f"engine: TensorRT {trt.__version__} cannot load {VISION_PLAN}; a plan runs on the "
                "TensorRT and the kind of GPU that it was built on: build the engine again"
            )
        self._engine = engine
        self._context = engine.create_execution_context()
        self._lock = threading.Lock()

    def encode(self, patches: Array, grid: tuple[int, int]) -> Array:
        """Return visual tokens, float32 `[grid_h * grid_w / 4, hidden]`.

        Raises:
            GenerationError: TensorRT failed on this film.
        """
        feeds = make_vision_feeds(patches, grid, self._shape)
        with self._lock:
            return self._run(feeds)

    def _run(self, feeds: dict[str, npt.NDArray[np.generic]]) -> Array:
        import torch

        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            tensors = {
                name: torch.from_numpy(np.ascontiguousarray(array)).cuda(non_blocking=True)
                for name, array in feeds.items()
            }
            tokens = torch.empty(len(feeds["merge_order"]), self._shape.hidden_size, device="cuda")
            for name, tensor in tensors.items():
                self._context.set_input_shape(name, tuple(tensor.shape))
                self._context.set_tensor_address(name, tensor.data_ptr())
            self._context.set_tensor_address(VISUAL_TOKENS, tokens.data_ptr())
            if not self._context.execute_async_v3(stream.cuda_stream):
                raise GenerationError("vision: TensorRT failed on this film")
            result: Array = tokens.cpu().numpy()
        return result
