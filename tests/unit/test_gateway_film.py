"""`POST /v1/film`: what a viewer gets, who gets it, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import threading
import time

import httpx2 as httpx
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from support.gateway_service import running_gateway

from cxr_reason.client import MockTransport
from cxr_reason.film.radiograph import decode_radiograph
from cxr_reason.gateway import film_picture
from cxr_reason.gateway.config import GatewayConfig, Key, Limits

SECRET = "a-long-random-key"
DICOM = {"content-type": "application/dicom"}
PNG = {"content-type": "image/png"}
CANARY = "JaneCanary"


def make_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


SMALL = make_png(np.arange(12, dtype=np.uint8).reshape(3, 4))


@pytest.fixture(scope="module")
def transport():
    return MockTransport()


@pytest.fixture(scope="module")
def http(transport):
    config = GatewayConfig(
        limits=Limits(requests_per_minute=100_000, max_film_mib=8, max_body_mib=12)
    )
    with (
        running_gateway(transport, config) as gateway,
        httpx.Client(base_url=gateway.url, timeout=20) as http,
    ):
        yield http


def read_picture(body: bytes) -> tuple[dict, np.ndarray, np.ndarray, np.ndarray]:
    """Read an answer as docs/gateway.md describes it."""
    assert body[:4] == b"CXRF"
    length = int.from_bytes(body[4:8], "little")
    assert length % 4 == 0
    head = json.loads(body[8 : 8 + length])
    entries, shape = head["entries"], (head["height"], head["width"])
    table, values = np.frombuffer(body, "<f4", 2 * entries, 8 + length).reshape(2, entries)
    pixels = np.frombuffer(body, "<u2", offset=8 + length + 8 * entries).reshape(shape)
    return head, table, values, pixels


def test_a_film_comes_as_the_model_is_given_it(http, transport, rg1_path):
    data = rg1_path.read_bytes()
    film = decode_radiograph(data)
    answer = http.post("/v1/film", content=data, headers=DICOM)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/vnd.cxr-reason.film"
    head, table, values, pixels = read_picture(answer.content)
    assert (pixels == film.pixels).all()
    assert (table == film.display_table).all()
    assert (values == np.arange(2**15)).all()
    assert head["format"] == "cxr-reason/film/1"
    assert (head["row_to_column_spacing"], head["right_edge"]) == (1, "L")
    assert head["film"]["image_digest"] == hashlib.sha256(data).hexdigest()
    assert (head["film"]["view"], head["film"]["bits_stored"]) == ("PA", 15)
    assert head["window"] == {
        "center": 15000,
        "width": 30000,
        "function": "LINEAR",
        "through_lut": False,
        "inverted": True,
    }
    assert not transport.requests, "the server is not asked"


def test_a_png_comes_too(http):
    head, table, values, pixels = read_picture(
        http.post("/v1/film", content=SMALL, headers=PNG).content
    )
    assert pixels.tolist() == np.arange(12).reshape(3, 4).tolist()
    assert len(table) == len(values) == 256
    assert head["film"]["source"] == "png"


def test_a_small_file_of_a_large_picture_comes_whole(http):
    pixels = np.zeros((2600, 2500), dtype=np.uint8)
    pixels[-1, -1] = 7
    body = http.post("/v1/film", content=make_png(pixels), headers=PNG).content
    assert (read_picture(body)[3] == pixels).all()


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"nothing of a film", DICOM, 400, "unreadable_image"),
        (b"", DICOM, 400, "unreadable_image"),
        (SMALL[:40], PNG, 400, "unreadable_image"),
        (SMALL, {}, 415, "unsupported_media_type"),
        (SMALL, {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        (SMALL, {"content-type": f"x/{CANARY}"}, 415, "unsupported_media_type"),
        (bytes(8 * 2**20 + 1), DICOM, 413, "too_large"),
    ],
)
def test_what_is_no_film_is_refused(http, content, headers, status, code):
    answer = http.post("/v1/film", content=content, headers=headers)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["code"] == code
    assert CANARY not in answer.text


def test_a_form_of_another_site_is_refused_before_its_body_is_read(http):
    """A page elsewhere may send forms to this machine; nothing is decoded for it."""
    answer = http.post("/v1/film", files={"film": SMALL})
    assert answer.status_code == 415


def test_a_body_without_a_length_is_cut_at_the_limit(http):
    def endless():
        for _ in range(9):
            yield bytes(2**20)

    answer = http.post("/v1/film", content=endless(), headers=DICOM)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("Modality", "CT"),
        ("BodyPartExamined", "JANECANARYX"),
        ("PhotometricInterpretation", "JANECANARYX"),
        ("BitsStored", 30),
    ],
)
def test_a_refusal_holds_nothing_of_the_header_but_codes(http, caplog, rg1_path, keyword, value):
    dataset = dcmread(rg1_path)
    dataset.PatientName = CANARY
    setattr(dataset, keyword, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    # No code has this character, and pydicom would write none.
    data = buffer.getvalue().replace(b"JANECANARYX", b"JANECANARY^")
    with caplog.at_level(logging.DEBUG):
        answer = http.post("/v1/film", content=data, headers=DICOM)
    assert answer.status_code == 400
    assert CANARY.lower() not in answer.text.lower()
    assert CANARY.lower() not in caplog.text.lower()


def test_a_picture_holds_nothing_of_the_patient(http, rg1_path):
    dataset = dcmread(rg1_path)
    dataset.PatientName = dataset.PatientID = dataset.StudyDescription = CANARY
    dataset.InstitutionName = dataset.AccessionNumber = CANARY
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    answer = http.post("/v1/film", content=buffer.getvalue(), headers=DICOM)
    assert answer.status_code == 200
    assert CANARY.encode() not in answer.content
    assert CANARY not in str(answer.headers)


def test_a_key_is_needed(transport):
    keys = (Key("ward", hashlib.sha256(SECRET.encode()).hexdigest()),)
    with running_gateway(transport, GatewayConfig(keys=keys)) as gateway:
        url = f"{gateway.url}/v1/film"
        assert httpx.post(url, content=SMALL, headers=PNG).status_code == 401
        headers = {**PNG, "authorization": f"Bearer {SECRET}"}
        assert httpx.post(url, content=SMALL, headers=headers).status_code == 200


def test_the_rate_limit_counts_films_too(transport):
    config = GatewayConfig(limits=Limits(requests_per_minute=2))
    with running_gateway(transport, config) as gateway:
        url = f"{gateway.url}/v1/film"
        found = [httpx.post(url, content=SMALL, headers=PNG).status_code for _ in range(3)]
    assert found == [200, 200, 429]


def test_few_films_are_decoded_at_a_time_and_more_are_refused(transport, monkeypatch):
    release = threading.Event()
    lock = threading.Lock()
    under_way, most = 0, 0

    def decode(*arguments):
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        release.wait(20)
        with lock:
            under_way -= 1
        return decode_radiograph(*arguments)

    monkeypatch.setattr(film_picture, "decode_radiograph", decode)
    found = []
    with running_gateway(transport) as gateway:
        url = f"{gateway.url}/v1/film"

        def post():
            found.append(httpx.post(url, content=SMALL, headers=PNG, timeout=20).status_code)

        threads = [threading.Thread(target=post) for _ in range(12)]
        for thread in threads:
            thread.start()
        while found.count(503) < 4:
            time.sleep(0.01)
        answer = httpx.post(url, content=SMALL, headers=PNG)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "busy")
        assert answer.headers["retry-after"]
        release.set()
        for thread in threads:
            thread.join()
        assert sorted(found) == [200] * 8 + [503] * 4
        assert most <= 2
        post()
        assert found[-1] == 200, "the places are free again"


def test_places_are_free_again_after_a_refusal(http):
    for _ in range(10):
        assert http.post("/v1/film", content=b"x", headers=PNG).status_code == 400
    assert http.post("/v1/film", content=SMALL, headers=PNG).status_code == 200


def test_a_film_read_slowly_is_let_go(transport, monkeypatch):
    monkeypatch.setattr(film_picture, "_SEND_TIMEOUT_S", 0.2)
    monkeypatch.setattr(film_picture, "_MAX_HELD", 1)
    large = make_png(np.zeros((6000, 4000), dtype=np.uint8))
    with running_gateway(transport) as gateway:
        url = f"{gateway.url}/v1/film"
        with (
            httpx.Client() as slow,
            slow.stream("POST", url, content=large, headers=PNG, timeout=20) as answer,
        ):
            assert answer.status_code == 200
            assert httpx.post(url, content=SMALL, headers=PNG).status_code == 503
            for _ in range(100):
                time.sleep(0.1)
                if httpx.post(url, content=SMALL, headers=PNG).status_code == 200:
                    break
            else:
                pytest.fail("the place is still taken")
