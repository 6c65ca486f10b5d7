"""Triton models and the launcher of the server that runs them.

Logic that knows nothing of Triton is in `preprocess`, `vision`, `reason` and `film_cache`; `unary`
and `streaming` connect it to the Python backend, which `model_repository/*/1/model.py` hand over as
`pb_utils`. `launcher` starts and stops the server, `model_config` renders its configuration.
"""
