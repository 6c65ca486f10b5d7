"""Client of a cxr-reason server. Needs numpy and tritonclient, no torch, no onnxruntime.

from cxr_reason.client import Client

with Client("127.0.0.1:8001") as client:
    reading = client.read("film.dcm")
    print(reading.findings, reading.reasoning)
"""

from cxr_reason.client.client import Client
from cxr_reason.client.events import DoneEvent, Event, TextEvent

__all__ = ["Client", "DoneEvent", "Event", "TextEvent"]
