"""A stand-in for the gateway, for tests of the page: its answers are scripted, its films are not.

The real gateway serves the page in `test_page_server.py`. Here the pace, the findings and the
faults are chosen, which no real model lets a test do.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cxr_reason.errors import CxrError
from cxr_reason.film.info import FilmInfo
from cxr_reason.film.radiograph import FilmLimits
from cxr_reason.gateway.film_picture import MEDIA_TYPE, make_picture
from cxr_reason.reading.audit import Contradiction, Evidence, Finding
from cxr_reason.reading.reading import Provenance, Reading, TraceRecord
from cxr_reason.reading.sections import split_reasoning
from cxr_reason.usage import Usage

PAGE = Path(__file__).parents[2] / "src" / "cxr_reason" / "gateway" / "page"
# As strict as a server can be.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; frame-ancestors 'none'"
)
MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}

LOST = {"error": {"message": "image_digest: not held", "param": "image_digest"}}

SENTENCES = (
    "No rib fracture is seen. ",
    "The heart is enlarged \N{HEAVY BLACK HEART}\N{GRINNING FACE}. ",
    "There is a small right pleural effusion at the base. ",
    "A left lower zone opacity may be atelectasis. ",
    "No pneumothorax is seen.",
)
ANSWER = "Cardiomegaly, Pleural Effusion, Pneumothorax"


def evidence(index: int, polarity: Any, side: str | None, region: str | None) -> Evidence:
    start = sum(map(len, SENTENCES[:index]))
    return Evidence(polarity, side, region, start, start + len(SENTENCES[index].rstrip()))


FINDINGS = {
    0: Finding("Fracture", "absent", False, (evidence(0, "absent", None, "ribs"),), 0.0),
    1: Finding("Cardiomegaly", "present", True, (evidence(1, "present", None, None),), 1.0),
    2: Finding(
        "Pleural Effusion", "present", True, (evidence(2, "present", "right", "base"),), 0.6
    ),
    3: Finding(
        "Atelectasis", "uncertain", False, (evidence(3, "uncertain", "left", "lower zone"),), 0.3
    ),
    4: Finding("Pneumothorax", "present", True, (evidence(4, "absent", None, None),), 0.5),
}


def make_reading(film: bytes, outcome: str = "complete", **changes: Any) -> Reading:
    reasoning = "".join(SENTENCES)
    text = f"<think>{reasoning}</think>\n<answer>{ANSWER}</answer>"
    digest = hashlib.sha256(film).hexdigest()
    fields: dict[str, Any] = {
        "outcome": outcome,
        "issues": ("unknown_label",),
        "findings": tuple(FINDINGS.values()),
        "contradictions": (Contradiction("Pneumothorax", "absent_in_reasoning"),),
        "differential": (),
        "sections": split_reasoning(reasoning),
        "unknown_labels": ("Scoliosis",),
        "reasoning": reasoning,
        "answer": ANSWER,
        "text": text,
        "traces": (TraceRecord(text, "stop", outcome),),
        "film": FilmInfo(digest, "dicom", 1955, 1841, 15, view="PA", flags=("window_estimated",)),
        "usage": Usage(300, 200, 60, 0.1, 0.2, 1.0),
        "provenance": Provenance(
            software_version="0.1.0",
            backend="stand-in",
            precision="none",
            engine_digest="e" * 64,
            checkpoint_digest="c" * 64,
            model_notice="Scripted by a test.",
            max_tokens=2048,
            temperature=0.7,
            top_p=1.0,
            seed=0,
            num_traces=10,
            answer_format="",
            calibration="",
        ),
    }
    return Reading(**{**fields, **changes})


class StandIn:
    """Serves the page and scripted answers on a free port.

    Attributes:
        key: If not empty, the API key that is asked for.
        pace_s: Pause before each piece of text.
        fault: "" or one of: "busy" (503), "cut" (the stream ends early), "error" (error event).
        outcome: Outcome of the readings.
        requests: Path and fields of each request but for films to show that got past the key.
        held: Films that were read, by digest; empty it, and they are lost.
        num_left: Streams that the page left before their end.
    """

    def __init__(self) -> None:
        self.key = ""
        self.pace_s = 0.0
        self.fault = ""
        self.outcome = "complete"
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.held: dict[str, bytes] = {}
        self.num_left = 0
        stand_in = self

        class Handler(_Handler):
            owner = stand_in

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def read(self, film: bytes) -> Iterator[tuple[str, Any]]:
        yield "queued", {}
        if self.fault == "error":
            yield "error", {"error": {"message": "image: not a chest film", "code": "unsupported"}}
            return
        for index, sentence in enumerate(SENTENCES):
            for word in sentence.split(" "):
                time.sleep(self.pace_s)
                yield "reasoning", {"text": word + " " if word else ""}
            if index in FINDINGS:
                yield "finding", json.loads(_dump(FINDINGS[index]))
            if self.fault == "cut" and index == 2:
                return
        yield "answer", {"text": ANSWER}
        yield "done", json.loads(make_reading(film, self.outcome).to_json())


class _Handler(BaseHTTPRequestHandler):
    owner: StandIn

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            if self._is_allowed():
                self._send_json(200, {"object": "list", "data": [{"id": "nano"}]})
            return
        path = PAGE / (self.path.lstrip("/") or "index.html")
        if not path.is_file():
            self._send_json(404, {"error": {"message": "not found"}})
            return
        self._send(200, MEDIA_TYPES.get(path.suffix, "text/plain"), path.read_bytes())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._is_allowed():
            return
        if self.owner.fault == "busy":
            self._send_json(503, {"error": {"message": "busy: the queue is full; try again later"}})
        elif self.path == "/v1/readings":
            fields = _read_form(self.headers["Content-Type"], body)
            self.owner.requests.append((self.path, fields))
            if "film" in fields:
                digest = hashlib.sha256(fields["film"]).hexdigest()
                self.owner.held[digest] = fields["film"]
            else:
                digest = fields["image_digest"]
            if digest not in self.owner.held:
                self._send_json(400, LOST)
                return
            events = self.owner.read(self.owner.held[digest])
            self._stream(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)
        elif self.path == "/v1/film":
            self._show(body)
        else:
            fields = json.loads(body)
            self.owner.requests.append((self.path, fields))
            url = fields["messages"][0]["content"][0]["image_url"]["url"]
            if url.startswith("sha256:") and url.removeprefix("sha256:") not in self.owner.held:
                self._send_json(400, LOST)
                return
            self._stream(self._chat(fields))

    def _show(self, film: bytes) -> None:
        try:
            picture = b"".join(make_picture(film, FilmLimits()))
        except CxrError as error:
            self._send_json(400, {"error": {"message": error.message, "param": error.param}})
            return
        self._send(200, MEDIA_TYPE, picture)

    def _chat(self, fields: dict[str, Any]) -> Iterator[str]:
        question = fields["messages"][-1]["content"]
        for word in ("You ", "asked: ", question):
            time.sleep(self.owner.pace_s)
            yield f"data: {json.dumps({'choices': [{'delta': {'content': word}}]})}\n\n"
        yield "data: [DONE]\n\n"

    def _is_allowed(self) -> bool:
        key = self.owner.key
        if not key or self.headers.get("Authorization") == f"Bearer {key}":
            return True
        self._send_json(401, {"error": {"message": "API key missing or wrong"}})
        return False

    def _send_json(self, status: int, fields: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(fields).encode())

    def _send(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, parts: Iterator[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            for part in parts:
                self.wfile.write(part.encode())
                self.wfile.flush()
        except OSError:
            self.owner.num_left += 1


def _dump(finding: Finding) -> str:
    from dataclasses import asdict

    return json.dumps(asdict(finding))


def _read_form(content_type: str, body: bytes) -> dict[str, Any]:
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    fields: dict[str, Any] = {}
    for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        fields[str(name)] = content if name == "film" else content.decode()
    return fields
