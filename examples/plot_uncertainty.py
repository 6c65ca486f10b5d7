"""Read a film several times and plot how far the traces agree on each finding.

pip install matplotlib
python examples/plot_uncertainty.py film.dcm uncertainty.png --engine engines/nano
"""

import argparse

from matplotlib.figure import Figure

import cxr_reason

COLORS = {"present": "tab:red", "uncertain": "tab:orange", "absent": "tab:gray"}

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("film", help="DICOM, PNG or JPEG file of a frontal chest film")
parser.add_argument("picture", help="PNG, PDF or SVG file to write")
parser.add_argument("--engine", default="engines/nano", help="folder made by `cxr-reason build`")
parser.add_argument("--num-traces", type=int, default=8, help="2 to 16")
arguments = parser.parse_args()

with cxr_reason.load(arguments.engine) as reader:
    reading = reader.read(arguments.film, num_traces=arguments.num_traces)

findings = sorted(reading.findings, key=lambda finding: finding.probability)
figure = Figure(figsize=(7, 0.4 * len(findings) + 1.5), layout="constrained")
axes = figure.subplots()
axes.barh(
    [finding.label for finding in findings],
    [finding.probability for finding in findings],
    color=[COLORS[finding.status] for finding in findings],
)
axes.set_xlim(0, 1)
axes.set_xlabel(f"share of {arguments.num_traces} traces (one that is unsure counts half)")
axes.set_title("Research use only; not for diagnosis")
figure.savefig(arguments.picture, dpi=150)
print(f"{arguments.picture}: {len(findings)} findings")
