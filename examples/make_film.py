"""Draw a synthetic chest film, if you have none at hand.

python examples/make_film.py film.dcm
"""

import argparse
from pathlib import Path

from cxr_reason.data.phantoms import make_phantom, write_dicom

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("film", type=Path, help="DICOM file to write")
parser.add_argument("--seed", type=int, default=7, help="another seed, another film")
arguments = parser.parse_args()

phantom = make_phantom(arguments.seed)
write_dicom(phantom, arguments.film)
present = [label for label, state in phantom.labels.items() if state == "present"]
print(f"{arguments.film}: a synthetic film with {', '.join(present)}")
