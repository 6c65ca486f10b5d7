"""Read many films, several at a time, into a table with a row for each film.

python examples/films_to_csv.py readings.csv films/*.dcm --engine engines/nano
"""

import argparse
import csv

import cxr_reason
from cxr_reason.findings import LABELS

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("table", help="CSV file to write")
parser.add_argument("films", nargs="+", help="DICOM, PNG or JPEG files")
parser.add_argument("--engine", default="engines/nano", help="folder made by `cxr-reason build`")
arguments = parser.parse_args()

with (
    open(arguments.table, "w", newline="", encoding="utf-8") as file,
    cxr_reason.load(arguments.engine) as reader,
):
    # A label that a reading does not mention stays empty: that does not rule it out.
    writer = csv.DictWriter(file, ["file", "outcome", "error", *LABELS])
    writer.writeheader()

    def write_row(index: int, result: cxr_reason.Reading | cxr_reason.CxrError) -> None:
        """Write the row of a film as soon as it is read."""
        row = {"file": arguments.films[index]}
        if isinstance(result, cxr_reason.CxrError):
            row["error"] = result.code
        else:
            row["outcome"] = result.outcome
            row |= {finding.label: finding.status for finding in result.findings}
        writer.writerow(row)
        file.flush()

    results = reader.read_many(arguments.films, on_result=write_row)

failed = sum(isinstance(result, cxr_reason.CxrError) for result in results)
print(f"{arguments.table}: {len(results) - failed} films read, {failed} not")
