"""The routes of the gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, JSONResponse, Response

from cxr_reason import __version__
from cxr_reason.client import AsyncClient
from cxr_reason.errors import CxrError
from cxr_reason.gateway.admission import Admission
from cxr_reason.gateway.api_errors import ApiError, as_api_error, error_response, too_large
from cxr_reason.gateway.chat_request import parse_chat
from cxr_reason.gateway.chat_response import completion, completion_chunks
from cxr_reason.gateway.config import GatewayConfig
from cxr_reason.gateway.film_picture import FilmPictures, check_body_type
from cxr_reason.gateway.films import load_film
from cxr_reason.gateway.metrics import GatewayMetrics
from cxr_reason.gateway.middleware import Envelope
from cxr_reason.gateway.readings import parse_form, reading_events
from cxr_reason.gateway.sse import CallerLeftError, EventStreamResponse, while_caller_stays
from cxr_reason.reading.reading import Reading

PAGE = Path(__file__).with_name("page")
_STATUS_LEFT = 499  # nobody sees it but the log


def make_app(
    client: AsyncClient, config: GatewayConfig, *, page: Path = PAGE, film: Path | None = None
) -> FastAPI:
    """Return the application.

    Args:
        client: Asks the server; closed with the application.
        config: Keys and limits.
        page: Folder of the built page; where it has no index.html, there is no page.
        film: File that the page opens by itself at the address `/#film`.
    """
    # Its parser warns with pieces of what it is given.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    metrics = GatewayMetrics()

    @asynccontextmanager
    async def close_client(_: FastAPI) -> AsyncIterator[None]:
        yield
        await client.close()

    app = FastAPI(
        title="cxr-reason",
        version=__version__,
        lifespan=close_client,
        # The documentation pages of FastAPI load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    _add_api(app, client, config)
    _add_operations(app, client, metrics)
    app.add_exception_handler(ApiError, _answer_error)
    app.add_exception_handler(CxrError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(CallerLeftError, _answer_leaving)
    app.add_exception_handler(ClientDisconnect, _answer_leaving)
    if film is not None:
        app.get("/v1/film")(lambda: FileResponse(film))
    if (page / "index.html").is_file():
        app.mount("/", StaticFiles(directory=page, html=True))
    app.add_middleware(Admission, config=config)
    app.add_middleware(Envelope, metrics=metrics)
    return app


def _add_api(app: FastAPI, client: AsyncClient, config: GatewayConfig) -> None:
    max_bytes = config.limits.max_body_bytes
    model = {
        "id": config.model,
        "object": "model",
        "created": 0,
        "owned_by": "cxr-reason",
        # So that nobody sends what would be refused.
        "max_film_bytes": config.limits.max_film_bytes,
    }

    @app.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [model]}

    @app.get("/v1/models/{name}")
    async def get_model(name: str) -> dict[str, Any]:
        if name != config.model:
            raise ApiError(404, f"model: there is one, {config.model!r}", code="model_not_found")
        return model

    @app.post("/v1/chat/completions")
    async def complete_chat(request: Request) -> Response:
        data = b"".join([chunk async for chunk in _read_body(request, max_bytes)])
        chat = await asyncio.to_thread(parse_chat, data, model=config.model)
        del data  # as large as the film
        film = None if chat.image_url is None else await load_film(chat.image_url, config)
        labels = {"request_id": request.state.request_id, "model": config.model}
        if chat.stream:
            events = client.stream(film, **chat.settings)
            return EventStreamResponse(
                completion_chunks(events, include_usage=chat.include_usage, **labels)
            )
        reading = await _finish(request, client.read(film, **chat.settings))
        return JSONResponse(completion(reading, **labels))

    pictures = FilmPictures(config.limits)

    @app.post("/v1/film")
    async def show_film(request: Request) -> Response:
        check_body_type(request.headers.get("content-type", ""))
        limit = config.limits.max_film_bytes
        data = b"".join([chunk async for chunk in _read_body(request, limit)])
        return await pictures.answer(data)

    @app.post("/v1/readings")
    async def read_film(request: Request) -> Response:
        form = await parse_form(request.headers, _read_body(request, max_bytes), config.limits)
        if form.stream:
            return EventStreamResponse(reading_events(client.stream(form.film, **form.settings)))
        reading = await _finish(request, client.read(form.film, **form.settings))
        return Response(reading.to_json(), media_type="application/json")


def _add_operations(app: FastAPI, client: AsyncClient, metrics: GatewayMetrics) -> None:
    @app.get("/health")
    async def report_health() -> JSONResponse:
        if await client.is_ready():
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "the server is not ready"}, 503)

    @app.get("/metrics")
    async def report_metrics() -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)


async def _read_body(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """Yield the body as it comes, up to the limit in bytes."""
    announced = request.headers.get("content-length", "0")
    num_bytes = 0
    if not announced.isdecimal() or int(announced) > limit:
        raise _body_too_large(limit)
    async for chunk in request.stream():
        num_bytes += len(chunk)
        if num_bytes > limit:
            raise _body_too_large(limit)
        yield chunk


def _body_too_large(limit: int) -> ApiError:
    return too_large(f"body: over the limit of {limit} bytes; send a compressed or smaller film")


async def _finish(request: Request, reading: Coroutine[Any, Any, Reading]) -> Reading:
    return await while_caller_stays(request.receive, reading)


async def _answer_error(_: Request, error: Exception) -> Response:
    return error_response(as_api_error(error))


async def _answer_http_error(_: Request, error: Exception) -> Response:
    """Errors of the router: no such route, or not that method."""
    assert isinstance(error, HTTPException)
    status = error.status_code
    return error_response(ApiError(status, HTTPStatus(status).phrase.lower(), code="http"))


async def _answer_leaving(_: Request, __: Exception) -> Response:
    return Response(status_code=_STATUS_LEFT)
