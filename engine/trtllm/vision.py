"""Runs `vision.plan`: patches of one film → visual tokens, on a GPU."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from cxr_reason.engine.artifact import Manifest
from cxr_reason.engine.base import Array
from cxr_reason.engine.positions import plan_vision
from cxr_reason.engine.trtllm.graph import OUTPUT_NAME, PLAN_INPUTS, VISION_PLAN
from cxr_reason.errors import ArtifactError, GenerationError


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
        plan = plan_vision(
            grid,
            window_size_px=self._shape.window_size_px,
            head_dim=self._shape.vision_hidden_size // self._shape.vision_num_heads,
        )
        feeds = {name: getattr(plan, name) for name in PLAN_INPUTS}
        feeds["patches"] = patches[plan.window_order]
        with self._lock:
            return self._run(feeds, len(plan.merge_order))

    def _run(self, feeds: dict[str, Any], num_tokens: int) -> Array:
        import torch

        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            tensors = {
                name: torch.from_numpy(np.ascontiguousarray(array)).cuda(non_blocking=True)
                for name, array in feeds.items()
            }
            tokens = torch.empty(num_tokens, self._shape.hidden_size, device="cuda")
            for name, tensor in tensors.items():
                self._context.set_input_shape(name, tuple(tensor.shape))
                self._context.set_tensor_address(name, tensor.data_ptr())
            self._context.set_tensor_address(OUTPUT_NAME, tokens.data_ptr())
            if not self._context.execute_async_v3(stream.cuda_stream):
                raise GenerationError("vision: TensorRT failed on this film")
            result: Array = tokens.cpu().numpy()
        return result
