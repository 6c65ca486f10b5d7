"""Client of a cxr-reason server. Needs numpy and tritonclient, no torch, no onnxruntime.

from cxr_reason.client import Client

with Client("127.0.0.1:8001") as client:
    reading = client.read("film.dcm")
    print(reading.findings, reading.reasoning)
"""

from cxr_reason.client.async_client import AsyncClient
from cxr_reason.client.client import Client
from cxr_reason.client.conversation import AsyncConversation, Conversation
from cxr_reason.client.events import DoneEvent, Event, FindingEvent, QueuedEvent, TextEvent
from cxr_reason.client.grpc_transport import GrpcTransport
from cxr_reason.client.http_transport import HttpTransport
from cxr_reason.client.images import SentFilm, encode_image
from cxr_reason.client.local_transport import LocalTransport
from cxr_reason.client.mock_transport import MockTransport
from cxr_reason.client.settings import Settings
from cxr_reason.client.transport import Call, Request, Response, Transport

__all__ = [
    "AsyncClient",
    "AsyncConversation",
    "Call",
    "Client",
    "Conversation",
    "DoneEvent",
    "Event",
    "FindingEvent",
    "GrpcTransport",
    "HttpTransport",
    "LocalTransport",
    "MockTransport",
    "QueuedEvent",
    "Request",
    "Response",
    "SentFilm",
    "Settings",
    "TextEvent",
    "Transport",
    "encode_image",
]
