"""What tests of the gateway share: a gateway on a free port, in a thread, and scripted replies."""

from __future__ import annotations

import threading
from contextlib import contextmanager

from cxr_reason.client import AsyncClient
from cxr_reason.gateway.config import GatewayConfig
from cxr_reason.gateway.service import GatewayService

TRACE = "<think> The heart is large. No effusion. </think>\n<answer> Cardiomegaly </answer>"


class Script:
    """The reply of the mock, set by each test."""

    def __init__(self):
        self.reply = TRACE

    def __call__(self, request):
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply(request) if callable(self.reply) else self.reply


@contextmanager
def running_gateway(server, config=None, **arguments):
    """Yield a gateway over a transport, or over the server at an address."""
    config = config or GatewayConfig()
    transport = {} if isinstance(server, str) else {"transport": server}
    address = [server] if isinstance(server, str) else []
    client = AsyncClient(*address, timeout_s=config.timeout_s, max_retries=0, **transport)
    service = GatewayService(client, config, port=0, **arguments)
    before = set(threading.enumerate())
    with service.in_background():
        yield service
    left = [thread for thread in set(threading.enumerate()) - before if thread.name == "gateway"]
    assert not left, "the gateway did not stop"
