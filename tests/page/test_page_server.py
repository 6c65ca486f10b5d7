"""The page over the real gateway and a real tritonserver, in a real Chromium."""

from __future__ import annotations

import json
import re
import runpy
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.page_browser import (
    READING_MS,
    canvas_pixels,
    compare_shown,
    decision,
    expect,
    open_film,
    open_page,
    read_film,
)

from cxr_reason.client import Client
from cxr_reason.engine.config import EngineConfig
from cxr_reason.film.radiograph import decode_radiograph
from cxr_reason.gateway.config import GatewayConfig
from cxr_reason.gateway.service import GatewayService
from cxr_reason.reading.reading import Reading
from cxr_reason.serving.addresses import Addresses
from cxr_reason.serving.launcher import TritonServer
from cxr_reason.serving.settings import ServingSettings

_DEMO = Path(__file__).parents[2] / "scripts" / "demo.py"

pytestmark = pytest.mark.server


def make_gateway(server: TritonServer) -> GatewayService:
    return GatewayService.for_server(server.grpc_address, GatewayConfig(), host="127.0.0.1", port=0)


@pytest.fixture(scope="module")
def trained_server(trained_engine_dir: Path) -> Iterator[TritonServer]:
    """A server over the checkpoint of this repository, whose readings end by themselves."""
    settings = ServingSettings(trained_engine_dir, EngineConfig(max_batch=2))
    with TritonServer(settings, addresses=Addresses.free()) as server:
        yield server


@pytest.fixture
def page(
    browser: Any, trained_server: TritonServer, request: pytest.FixtureRequest
) -> Iterator[Any]:
    with make_gateway(trained_server).in_background() as url:
        yield from open_page(browser, url, request.node.name)


@pytest.fixture
def endless_page(
    browser: Any, server: TritonServer, request: pytest.FixtureRequest
) -> Iterator[Any]:
    """The page over a random checkpoint: its readings end only at the token limit."""
    with make_gateway(server).in_background() as url:
        yield from open_page(browser, url, request.node.name)


def num_cancelled(server: TritonServer) -> float:
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    found = [line for line in lines if re.match(r"cxr_requests_total\{.*cancelled", line)]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def test_rg1_is_read_from_opening_to_export(
    page: Any, trained_server: TritonServer, rg1_path: Path
) -> None:
    with Client(trained_server.grpc_address) as client:
        expected = client.read(rg1_path)
    assert expected.findings, "the film has something to say of"
    read_film(page, rg1_path)
    trace = page.get_by_role("region", name="Text of the reasoning")
    expect(trace).to_have_text(expected.reasoning)
    labels = sorted(finding.label for finding in expected.findings)
    absent = page.get_by_role("button", name="Absent:")
    if absent.count():
        absent.click()
    assert sorted(page.locator("tbody th[scope=row]").all_inner_texts()) == labels
    notice = expected.provenance.model_notice
    expect(page.get_by_role("list", name="Notices")).to_contain_text(notice)

    finding = next(finding for finding in expected.findings if finding.evidence)
    page.get_by_role("button", name=finding.label, exact=True).click()
    evidence = finding.evidence[0]
    sentence = expected.reasoning[evidence.start : evidence.end]
    expect(trace.locator("mark.selected").first).to_have_text(sentence)

    gray, given = compare_shown(page, decode_radiograph(rg1_path.read_bytes()))
    assert np.abs(gray - given).max() <= 0.51
    before, _ = canvas_pixels(page)
    page.mouse.move(400, 400)
    page.mouse.down()
    page.mouse.move(300, 500)
    page.mouse.up()
    assert (canvas_pixels(page)[0] != before).mean() > 0.5

    for label in labels:
        decision(page, label, "Accept").click()
    page.get_by_role("button", name="Sign off").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export JSON").click()
    review = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    reading = Reading.from_json(json.dumps(review["reading"]))
    assert (reading.text, reading.findings) == (expected.text, expected.findings)
    assert review["is_signed_off"]


def test_the_page_of_the_demo_reads_its_film_by_itself(
    browser: Any, trained_server: TritonServer, rg1_path: Path, request: pytest.FixtureRequest
) -> None:
    make_page = runpy.run_path(str(_DEMO))["make_page"]
    with make_page(trained_server, rg1_path).in_background() as url:
        for page in open_page(browser, f"{url}/#film", request.node.name):
            expect(page.locator(".phase")).to_have_text("Reading complete", timeout=READING_MS)
            assert page.locator("tbody th[scope=row]").count()


def test_several_traces_give_shares(page: Any, rg1_path: Path) -> None:
    page.get_by_text("Settings", exact=True).click()
    page.get_by_label("Traces").fill("4")
    page.get_by_label("Hold the answer").check()
    read_film(page, rg1_path)
    shares = page.locator(".share").all_inner_texts()
    assert shares
    assert {int(share.split()[0]) for share in shares} <= {0, 13, 25, 38, 50, 63, 75, 88, 100}


def test_a_follow_up_is_answered_with_the_film(
    page: Any, trained_server: TritonServer, rg1_path: Path
) -> None:
    question = "Write a structured report."
    with Client(trained_server.grpc_address) as client:
        conversation = client.conversation(rg1_path)
        conversation.ask()
        expected = conversation.ask(question)
    read_film(page, rg1_path)
    page.get_by_role("button", name=question).click()
    answer = page.locator("article")
    expect(answer).to_have_attribute("aria-busy", "false")
    # White space aside, which the page does not keep as it is.
    said = re.sub(r"<[^<>]+>", "", expected.text).split()
    assert answer.inner_text().split() == [*question.split(), *said]


def test_stop_frees_the_server(endless_page: Any, server: TritonServer, rg1_path: Path) -> None:
    before = num_cancelled(server)
    open_film(endless_page, rg1_path)
    trace = endless_page.get_by_role("region", name="Text of the reasoning")
    other = endless_page.locator(".other, .answer").first
    expect(trace.or_(other).first).to_be_visible()
    expect(endless_page.get_by_role("status").get_by_text("Reading", exact=True)).to_be_visible()
    # Not `click`: it waits until the button stands still, and the text beside it grows.
    endless_page.get_by_role("button", name="Stop").dispatch_event("click")
    expect(endless_page.get_by_text("Stopped")).to_be_visible()
    for _ in range(200):
        if num_cancelled(server) > before:
            break
        endless_page.wait_for_timeout(50)
    assert num_cancelled(server) == before + 1


def test_a_cut_reading_says_so(endless_page: Any, rg1_path: Path) -> None:
    endless_page.get_by_text("Settings", exact=True).click()
    endless_page.get_by_label("Most tokens").fill("20")
    read_film(endless_page, rg1_path)
    notices = endless_page.get_by_role("list", name="Notices")
    expect(notices).to_contain_text("The token limit cut the output")


def test_a_bad_file_is_refused_by_the_gateway(page: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(b"nothing of a film")
    open_film(page, bad)
    expect(page.get_by_role("alert").filter(has_text="image: neither DICOM")).to_be_visible()
