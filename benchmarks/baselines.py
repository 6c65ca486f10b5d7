"""What preprocessing is compared with: the usual pipeline, and compositions of library calls.

What follows from the shape alone (weights, buffers, processors) is prepared outside of the
measurement; our op computes its weights in every call.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from cxr_reason.benchmarks.kernel_cases import KernelCase
from cxr_reason.kernels.preprocess import PATCH_SIZE, PixelBudget
from cxr_reason.kernels.preprocess.reference import patchify, resize_weights

Patches = NDArray[np.float32]
# (film, buffer) → intensities in the buffer, all float32 of the film's shape.
_LookUp = Callable[[NDArray[np.uint16], Patches], None]

# Result rows and columns of one matrix product: the fastest of 7 to 28 and 14 to 56 on AVX-512.
_ROWS, _COLUMNS = 8, 20


class Baseline(NamedTuple):
    """A way to preprocess one case.

    Attributes:
        name: Libraries, in the order in which they work.
        run: Does the work once.
        to_gray: Result of `run` → gray patches `[N, 196]`; not part of the measurement.
        is_8_bit: Whether it rounds to 8 bits on the way, as the usual pipeline does.
    """

    name: str
    run: Callable[[], Any]
    to_gray: Callable[[Any], Patches]
    is_8_bit: bool


def usual_pipelines(case: KernelCase) -> Iterator[Baseline]:
    """Yield pydicom's display pipeline followed by the processor that comes with the model."""
    for kind, name in (("_pil", "Qwen2VLImageProcessorPil"), ("", "Qwen2VLImageProcessor")):
        module = importlib.import_module(
            f"transformers.models.qwen2_vl.image_processing{kind}_qwen2_vl"
        )
        budget = PixelBudget()
        processor = getattr(module, name)(
            min_pixels=budget.min_pixels, max_pixels=budget.max_pixels
        )
        library = "Pillow" if kind else "torchvision"
        yield Baseline(
            f"pydicom, transformers ({library})",
            partial(_run_processor, case, processor),
            partial(_undo_normalization, processor),
            is_8_bit=True,
        )


def compositions(case: KernelCase) -> Iterator[Baseline]:
    """Yield the same operation, unrounded, made of calls to NumPy, OpenCV and PyTorch."""
    for name, look_up in _look_ups(case.display_table):
        for resize_name, make in (("torch.mm", _make_banded), ("torch interpolate", _make_torch)):
            resize = make(case, look_up)
            yield Baseline(
                f"{name}, {resize_name}",
                partial(_finish, case, resize),
                _keep,
                is_8_bit=False,
            )


def _run_processor(case: KernelCase, processor: Any) -> NDArray[np.float32]:
    values = apply_voi_lut(apply_modality_lut(case.pixels, case.header), case.header)
    white = 2**case.header.BitsStored - 1
    if case.header.PhotometricInterpretation == "MONOCHROME1":
        values = white - values
    gray = np.clip(values * (255 / white) + 0.5, 0, 255).astype(np.uint8)
    image = Image.fromarray(gray).convert("RGB")
    patches = processor(images=image, return_tensors="pt")["pixel_values"].numpy()
    return np.asarray(patches, np.float32)


def _finish(case: KernelCase, resize: Callable[[], Patches]) -> Patches:
    return patchify(np.clip(resize(), 0.0, 1.0), case.grid)


def _keep(patches: Patches) -> Patches:
    return patches


def _undo_normalization(processor: Any, values: NDArray[np.float32]) -> Patches:
    first_channel = values.reshape(len(values), 3, 2, -1)[:, 0, 0]
    mean, std = processor.image_mean[0], processor.image_std[0]
    return np.asarray(first_channel * std + mean, np.float32)


def _look_ups(table: NDArray[np.float32]) -> Iterator[tuple[str, _LookUp]]:
    def take(pixels: NDArray[np.uint16], out: Patches) -> None:
        np.take(table, pixels, out=out, mode="wrap")  # "raise" copies once more

    yield "np.take", take
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError:
        return
    if int(cv2.__version__.partition(".")[0]) < 5:
        return  # cv2.LUT takes 16-bit pictures since OpenCV 5
    cv2.setNumThreads(1)
    full_table = np.zeros((1, 2**16), np.float32)
    full_table[0, : len(table)] = table

    def look_up(pixels: NDArray[np.uint16], out: Patches) -> None:
        cv2.LUT(pixels, full_table, dst=out)

    yield "cv2.LUT", look_up


def _make_torch(case: KernelCase, look_up: _LookUp) -> Callable[[], Patches]:
    """Return PyTorch's own antialiased bicubic resize."""
    size = (case.grid.height * PATCH_SIZE, case.grid.width * PATCH_SIZE)
    image = np.empty(case.pixels.shape, np.float32)

    def resize() -> Patches:
        look_up(case.pixels, image)
        batch = torch.from_numpy(image)[None, None]
        resized = torch.nn.functional.interpolate(batch, size, mode="bicubic", antialias=True)
        return np.asarray(resized[0, 0].numpy(), np.float32)

    return resize


def _make_banded(case: KernelCase, look_up: _LookUp) -> Callable[[], Patches]:
    """Return a resize by products with the blocks of the weight matrices that are not zero.

    Each row of the film is looked up just before the first product that needs it.
    """
    height, width = case.pixels.shape
    new_height, new_width = case.grid.height * PATCH_SIZE, case.grid.width * PATCH_SIZE
    image = np.empty((height, width), np.float32)
    image_tensor = torch.from_numpy(image)
    shrunk, resized = torch.empty(new_height, width), torch.empty(new_height, new_width)
    down = list(_cut_bands(height, new_height, _ROWS))
    across = [
        (start, first, end, weights.T.contiguous())
        for start, first, end, weights in _cut_bands(width, new_width, _COLUMNS)
    ]

    def resize() -> Patches:
        known = 0
        for start, first, end, weights in down:
            if end > known:
                look_up(case.pixels[known:end], image[known:end])
                known = end
            torch.mm(weights, image_tensor[first:end], out=shrunk[start : start + len(weights)])
        for start, first, end, weights in across:
            part = resized[:, start : start + weights.shape[1]]
            torch.mm(shrunk[:, first:end], weights, out=part)
        return np.asarray(resized.numpy(), np.float32)

    return resize


def _cut_bands(size: int, new_size: int, step: int) -> Iterator[tuple[int, int, int, torch.Tensor]]:
    """Yield result rows from `start`, and the pixels `first` to `end` that they are made of."""
    weights = resize_weights(size, new_size)
    for start in range(0, new_size, step):
        rows = weights[start : start + step]
        used = np.flatnonzero(rows.any(axis=0))
        first, end = int(used[0]), int(used[-1]) + 1
        yield start, first, end, torch.from_numpy(np.ascontiguousarray(rows[:, first:end]))
