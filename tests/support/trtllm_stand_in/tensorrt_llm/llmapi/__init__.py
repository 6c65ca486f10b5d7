"""Configurations of `LLM`."""

from tensorrt_llm.sampling_params import GuidedDecodingParams

from .llm_args import CudaGraphConfig, KvCacheConfig

__all__ = ["CudaGraphConfig", "GuidedDecodingParams", "KvCacheConfig"]
