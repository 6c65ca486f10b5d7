"""Read one film in this process and print each finding with the sentences behind it.

python examples/read_film.py film.dcm --engine engines/nano
"""

import argparse

import cxr_reason

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("film", help="DICOM, PNG or JPEG file of a frontal chest film")
parser.add_argument("--engine", default="engines/nano", help="folder made by `cxr-reason build`")
arguments = parser.parse_args()

with cxr_reason.load(arguments.engine) as reader:
    reading = reader.read(arguments.film)

print(f"outcome: {reading.outcome}")
for finding in reading.findings:
    print(f"{finding.label}: {finding.status}")
    for evidence in finding.evidence:
        # Places count characters of the reasoning.
        print(f"    {reading.reasoning[evidence.start : evidence.end]}")
for contradiction in reading.contradictions:
    # Without a label, it is what the reasoning says of the film against its header.
    print(f"contradiction: {contradiction.label or 'film'}, {contradiction.kind}")
print(reading.provenance.model_notice)
