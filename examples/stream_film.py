"""Print the reasoning about a film while it is generated, and each finding as it is stated.

python examples/stream_film.py film.dcm --engine engines/nano
"""

import argparse

import cxr_reason
from cxr_reason.client import DoneEvent, FindingEvent, TextEvent

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("film", help="DICOM, PNG or JPEG file of a frontal chest film")
parser.add_argument("--engine", default="engines/nano", help="folder made by `cxr-reason build`")
parser.add_argument("--server", help="ask the server at this host:port instead")
arguments = parser.parse_args()

if arguments.server:
    reader = cxr_reason.connect(arguments.server)
else:
    reader = cxr_reason.load(arguments.engine)

with reader:
    for event in reader.stream(arguments.film):
        if isinstance(event, TextEvent) and event.section == "reasoning":
            print(event.text, end="", flush=True)
        elif isinstance(event, FindingEvent):
            print(f"\n  [{event.finding.label}: {event.finding.status}]")
        elif isinstance(event, DoneEvent):
            usage = event.reading.usage
            print(f"\n{event.reading.outcome}: {usage.completion_tokens} tokens")
