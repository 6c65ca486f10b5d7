"""An engine that says fixed words slowly: tests of serving run without a model.

The prompt chooses what it says: "count N" gives N words, "fail" an internal error that quotes the
prompt (which must reach neither a client nor a log), all else the trained form.
"""

from __future__ import annotations

import threading
import time

import numpy as np

from cxr_reason.engine.artifact import Manifest, ModelShape
from cxr_reason.engine.base import Engine, FinishReason, Generation, TokenEvent, VisualInput
from cxr_reason.errors import CapacityError
from cxr_reason.usage import Usage

TRAINED_FORM = "<think> The heart is large. </think>\n<answer> Cardiomegaly </answer>"
HIDDEN_SIZE = 8

MANIFEST = Manifest(
    format_version=1,
    backend="onnx",
    precision="fp32",
    checkpoint_digest="c" * 64,
    model_notice="a fake",
    shape=ModelShape(HIDDEN_SIZE, 1, 1, 8, 100, 8, 1, 112),
    context_length=4096,
    min_pixels=128 * 128,
    max_pixels=476 * 476,
    image_token_id=1,
    stop_token_ids=(2,),
    tool_versions={},
    files={},
)


class FakeEngine(Engine):
    """Answers `num_slots` requests at once; `max_queue` more may wait."""

    def __init__(self, *, num_slots=2, max_queue=4, step_s=0.005):
        self.manifest = MANIFEST
        self.num_slots = num_slots
        self.max_queue = max_queue
        self.step_s = step_s
        self.slots = threading.Semaphore(num_slots)
        self.lock = threading.Lock()
        self.num_live = 0
        self.num_running = 0
        self.num_encoded = 0
        self.requests = []
        self.generations = []

    def encode(self, patches, grid):
        self.num_encoded += 1
        tokens = patches.mean(axis=1).reshape(-1, 4).mean(axis=1, keepdims=True)
        return VisualInput(np.tile(tokens, HIDDEN_SIZE).astype(np.float32), grid)

    def submit(self, request):
        with self.lock:
            if self.num_live >= self.num_slots + self.max_queue:
                raise CapacityError("busy: the queue is full; try again later")
            self.num_live += 1
            self.requests.append(request)
        generation = FakeGeneration(self, request)
        self.generations.append(generation)
        return generation

    def close(self):
        for generation in self.generations:
            generation.cancel()


class FakeGeneration(Generation):
    def __init__(self, engine, request):
        self.engine = engine
        self.request = request
        self.cancelled = threading.Event()
        self.started = time.monotonic()
        self.times = []
        self.prefill_s = 0.0

    def words(self):
        prompt = self.request.messages[-1].text
        if prompt.startswith("count "):
            return [f"w{index} " for index in range(int(prompt.split()[1]))]
        if prompt.startswith("fail"):
            raise RuntimeError(f"cannot handle {prompt}")
        return [f"{word} " if word != "</answer>" else word for word in TRAINED_FORM.split(" ")]

    def __iter__(self):
        try:
            while not self.engine.slots.acquire(timeout=0.005):
                if self.cancelled.is_set():
                    yield TokenEvent("", -1, FinishReason.CANCELLED)
                    return
            try:
                self.engine.num_running += 1
                self.prefill_s = time.monotonic() - self.started
                yield from self.steps()
            finally:
                self.engine.num_running -= 1
                self.engine.slots.release()
        finally:
            with self.engine.lock:
                self.engine.num_live -= 1

    def steps(self):
        words = self.words()
        limit = self.request.sampling.max_tokens
        for index, word in enumerate(words[:limit]):
            time.sleep(self.engine.step_s)
            if self.cancelled.is_set():
                yield TokenEvent("", -1, FinishReason.CANCELLED)
                return
            self.times.append(time.monotonic())
            is_last = index + 1 == min(limit, len(words))
            reason = FinishReason.STOP if len(words) <= limit else FinishReason.LENGTH
            yield TokenEvent(word, index, reason if is_last else None)
            yield from [] if is_last else [TokenEvent("", 0)]

    def cancel(self):
        self.cancelled.set()

    def usage(self):
        visual = self.request.visual
        num_visual = 0 if visual is None else len(visual.tokens)
        first, last = (self.times[0], self.times[-1]) if self.times else (self.started,) * 2
        return Usage(
            prompt_tokens=10 + num_visual,
            visual_tokens=num_visual,
            completion_tokens=len(self.times),
            queue_s=self.prefill_s,
            time_to_first_token_s=first - self.started,
            generation_s=last - self.started,
        )
