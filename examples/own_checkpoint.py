"""Compile a checkpoint of your own, such as one that was fine-tuned, and read a film with it.

pip install -e '.[build]'
python examples/own_checkpoint.py checkpoints/nano engines/mine film.dcm
"""

import argparse
from pathlib import Path

import cxr_reason
from cxr_reason.checkpoint import open_checkpoint
from cxr_reason.engine.build import is_built, plan_build, run_build

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("checkpoint", help="folder of a Qwen2.5-VL checkpoint, or OWNER/NAME")
parser.add_argument("engine", type=Path, help="folder to make; an engine there is replaced")
parser.add_argument("film", help="DICOM, PNG or JPEG file of a frontal chest film")
parser.add_argument("--precision", default="int4", help="fp32, int8 or int4")
arguments = parser.parse_args()

plan = plan_build(
    open_checkpoint(arguments.checkpoint),
    backend="onnx",
    precision=arguments.precision,
    output=arguments.engine,
)
if not is_built(plan):
    run_build(plan, lambda step, part: print(f"{step}: {part:.0%}"))

with cxr_reason.load(arguments.engine) as reader:
    reading = reader.read(arguments.film)
print(reading.outcome, reading.answer, sep="\n")
