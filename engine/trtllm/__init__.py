"""The TensorRT-LLM backend: NVIDIA GPUs, through TensorRT-LLM's LLM API.

    package.py      which release is installed, and what to do if there is none
    films.py        how a film reaches the decoder; the one place that decides, from the release
    settings.py     settings of this backend, from CXR_TRTLLM_CONFIG
    sampling.py     our request → TensorRT-LLM's sampling parameters and guided decoding
    decoder.py      owns the LLM: streaming, cancellation, capacity
    generation.py   one request under way
    vision.py       runs the TensorRT engine of the vision tower
    engine.py       all of it behind `Engine`
    build.py        checkpoint → artifact

What has run on a GPU and what has not: docs/deploy-gpu.md.
"""
