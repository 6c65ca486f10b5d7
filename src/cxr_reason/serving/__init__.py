"""Triton models and the launcher of the server that runs them.

Logic that does not depend on Triton is in `preprocess`, `vision` and the package `reader`; `unary`
and `streaming` connect it to the Python backend, which `model_repository/*/1/model.py` hand over as
`pb_utils`. `launcher` starts and stops the server, `model_config` renders its configuration.
"""
