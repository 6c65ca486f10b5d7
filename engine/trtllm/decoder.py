"""Owns TensorRT-LLM's `LLM` and the event loop that its requests run on."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any

from cxr_reason.engine.base import FinishReason
from cxr_reason.engine.config import EngineConfig
from cxr_reason.engine.trtllm.generation import TrtllmGeneration
from cxr_reason.engine.trtllm.sampling import GUIDE_BACKEND
from cxr_reason.engine.trtllm.settings import TrtllmSettings
from cxr_reason.errors import ArtifactError, CapacityError, GenerationError

logger = logging.getLogger(__name__)

DECODER = "decoder"
_ADAPTER_NAME = "adapter"
_LEAST_TOKENS_PER_STEP = 8192  # TensorRT-LLM's default


class TrtllmDecoder:
    """The decoder, with in-flight batching inside TensorRT-LLM.

    Args:
        folder: The Hugging Face folder that TensorRT-LLM loads.
        config: Slots and queue.
        settings: Of this backend.
        context_length: Most tokens of prompt and answer together.

    Raises:
        ArtifactError: TensorRT-LLM cannot load the folder.
    """

    def __init__(
        self, folder: Path, config: EngineConfig, settings: TrtllmSettings, context_length: int
    ) -> None:
        self._capacity = config.max_batch + config.max_queue
        self._lora_request = _make_lora_request(settings)
        self._llm = _load(folder, config, settings, context_length)
        self._lock = threading.Lock()
        self._is_closing = False
        self._active: set[TrtllmGeneration] = set()
        self._tasks: dict[TrtllmGeneration, asyncio.Task[None]] = {}  # the loop's thread only
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="trtllm", daemon=True)
        self._thread.start()

    @property
    def num_active(self) -> int:
        """Requests that run or wait."""
        return len(self._active)

    def submit(
        self, generation: TrtllmGeneration, inputs: dict[str, Any], sampling: Any, salt: str | None
    ) -> None:
        """Start a request and return at once.

        Args:
            generation: Gets the tokens.
            inputs: TensorRT-LLM's prompt dictionary.
            sampling: Its `SamplingParams`.
            salt: Keys and values are shared among requests with the same salt only.

        Raises:
            CapacityError: The queue is full, or the engine is closing.
        """
        with self._lock:
            if self._is_closing:
                raise CapacityError("engine: it is shutting down")
            if len(self._active) >= self._capacity:
                raise CapacityError(
                    f"engine: busy, {self._capacity} requests are under way, the most it takes; "
                    "try again in a moment"
                )
            self._active.add(generation)
            self._loop.call_soon_threadsafe(self._start, generation, inputs, sampling, salt)

    def cancel(self, generation: TrtllmGeneration) -> None:
        """End a request from any thread. Idempotent."""
        with self._lock:
            # The loop keeps the order of calls, so the request has started by then.
            if generation in self._active:
                self._loop.call_soon_threadsafe(self._cancel_task, generation)

    def close(self) -> None:
        """Cancel every request and free the model. Idempotent."""
        with self._lock:
            if self._is_closing:
                return
            self._is_closing = True
        asyncio.run_coroutine_threadsafe(self._end_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._llm.shutdown()

    def _start(
        self, generation: TrtllmGeneration, inputs: dict[str, Any], sampling: Any, salt: str | None
    ) -> None:
        try:
            # A film's pixels are processed inside this call: the loop waits for it.
            result = self._llm.generate_async(
                inputs,
                sampling_params=sampling,
                lora_request=self._lora_request,
                streaming=True,
                cache_salt=salt,
            )
        except Exception as error:  # TensorRT-LLM's exceptions share no base class
            self._fail(generation, error)
            return
        task = self._loop.create_task(self._follow(generation, result))
        self._tasks[generation] = task
        task.add_done_callback(lambda _: self._finish(generation, result, task))

    def _cancel_task(self, generation: TrtllmGeneration) -> None:
        if task := self._tasks.get(generation):
            task.cancel()

    async def _follow(self, generation: TrtllmGeneration, result: Any) -> None:
        async for step in result:
            output = step.outputs[0]
            reason = _translate(output.finish_reason)
            if reason is not None:
                # Free the place first: once told of the end, the caller may send the next.
                self._release(generation)
            generation.take(output.token_ids, reason)
            if reason is not None:
                return
        raise GenerationError("engine: TensorRT-LLM's stream of tokens ended without a reason")

    def _finish(self, generation: TrtllmGeneration, result: Any, task: asyncio.Task[None]) -> None:
        self._tasks.pop(generation, None)
        if task.cancelled():
            result.abort()
            self._release(generation)
            generation.finish_cancelled()
        elif error := task.exception():
            self._fail(generation, error)

    def _fail(self, generation: TrtllmGeneration, error: BaseException) -> None:
        self._release(generation)
        if not isinstance(error, GenerationError):
            logger.error("trtllm: a request failed (%s)", type(error).__name__)
            error = GenerationError(
                f"engine: TensorRT-LLM failed ({type(error).__name__}); send the request again"
            )
        generation.fail(error)

    def _release(self, generation: TrtllmGeneration) -> None:
        with self._lock:
            self._active.discard(generation)

    async def _end_all(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _translate(finish_reason: str | None) -> FinishReason | None:
    if finish_reason is None:
        return None
    if finish_reason in ("stop", "length"):
        return FinishReason(finish_reason)
    # "timeout", or "cancelled" although nobody asked for it.
    raise GenerationError(f"engine: TensorRT-LLM ended the request ({finish_reason})")


def _load(folder: Path, config: EngineConfig, settings: TrtllmSettings, context_length: int) -> Any:
    from tensorrt_llm import LLM
    from tensorrt_llm.llmapi import CudaGraphConfig, KvCacheConfig

    lora: dict[str, Any] = {}
    if settings.lora_adapter:
        from tensorrt_llm.llmapi.llm_args import LoraConfig

        lora = {
            "enable_lora": True,
            "lora_config": LoraConfig(
                lora_dir=[settings.lora_adapter],
                max_lora_rank=settings.lora_rank,
                max_loras=1,
                max_cpu_loras=1,
            ),
        }
    graphs = CudaGraphConfig(enable_padding=True, max_batch_size=config.max_batch)
    try:
        return LLM(
            model=str(folder),
            dtype="auto",
            tensor_parallel_size=settings.tensor_parallel_size,
            max_batch_size=config.max_batch,
            max_input_len=context_length,
            max_seq_len=context_length,
            max_num_tokens=max(_LEAST_TOKENS_PER_STEP, context_length),
            kv_cache_config=KvCacheConfig(
                enable_block_reuse=True,
                free_gpu_memory_fraction=settings.kv_cache_fraction,
                dtype="auto",
            ),
            cuda_graph_config=graphs if settings.cuda_graphs else None,
            enable_chunked_prefill=settings.chunked_prefill,
            guided_decoding_backend=GUIDE_BACKEND,
            **lora,
        )
    except Exception as error:  # TensorRT-LLM's exceptions share no base class
        raise ArtifactError(
            f"engine: TensorRT-LLM cannot load {DECODER} ({type(error).__name__}); its log says "
            "why: GPU memory, or an engine of another release"
        ) from error


def _make_lora_request(settings: TrtllmSettings) -> Any:
    if not settings.lora_adapter:
        return None
    from tensorrt_llm.executor.request import LoRARequest

    return LoRARequest(_ADAPTER_NAME, 1, settings.lora_adapter)
