"""Compile a checkpoint into an engine: the same as `cxr-reason build`.

python build_engine.py --checkpoint checkpoints/nano --backend onnx --output engines/nano
"""

import sys

# The folder of this file must not be importable: its `kernels` is also a distribution on PyPI.
sys.path.pop(0)

from cxr_reason.cli.main import main

if __name__ == "__main__":
    main(["build", *sys.argv[1:]])
