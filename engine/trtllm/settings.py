"""Settings of this backend that no other has, from the variable CXR_TRTLLM_CONFIG."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from cxr_reason.errors import BadRequestError

VARIABLE = "CXR_TRTLLM_CONFIG"


@dataclass(frozen=True)
class TrtllmSettings:
    """How TensorRT-LLM runs; slots, queue and context length are in `EngineConfig`.

    Attributes:
        tensor_parallel_size: GPUs that share the decoder's layers.
        kv_cache_fraction: Part of the GPU memory left after loading that holds keys and values,
            over 0 to 1. The vision engine and other processes need the rest.
        cuda_graphs: Capture decoding steps as CUDA graphs.
        chunked_prefill: Split long prompts between decoding steps. Off: with release 1.2 films
            and chunks were not compared yet.
        lora_adapter: Folder of a PEFT adapter for all requests, or empty.
        lora_rank: Largest rank of the adapter.

    Raises:
        BadRequestError: A value outside its range.
    """

    tensor_parallel_size: int = 1
    kv_cache_fraction: float = 0.7
    cuda_graphs: bool = True
    chunked_prefill: bool = False
    lora_adapter: str = ""
    lora_rank: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kinds = (int, float) if isinstance(field.default, float) else (type(field.default),)
            is_bool_by_mistake = isinstance(value, bool) and bool not in kinds
            if not isinstance(value, kinds) or is_bool_by_mistake:
                raise BadRequestError(
                    f"{VARIABLE}: {field.name} is {value!r}; must be of type {kinds[-1].__name__}"
                )
        for name in ("tensor_parallel_size", "lora_rank"):
            if getattr(self, name) < 1:
                raise BadRequestError(f"{VARIABLE}: {name} must be at least 1")
        if not 0.0 < self.kv_cache_fraction <= 1.0:
            raise BadRequestError(f"{VARIABLE}: kv_cache_fraction must be over 0 and at most 1")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> TrtllmSettings:
        """Read the variable; unset means the defaults.

        Raises:
            BadRequestError: Not a JSON object, an unknown key, or a value outside its range.
        """
        try:
            values: Any = json.loads(environment.get(VARIABLE) or "{}")
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise BadRequestError(f"{VARIABLE}: not a JSON object")
        known = [field.name for field in fields(cls)]
        if unknown := set(values) - set(known):
            raise BadRequestError(
                f"{VARIABLE}: unknown key {sorted(unknown)[0]!r}; allowed: {', '.join(known)}"
            )
        return cls(**values)
