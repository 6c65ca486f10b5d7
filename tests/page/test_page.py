"""The page in a real Chromium: reading, reviewing, exporting, and what goes wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import page_stand_in
from support.page_browser import canvas_pixels, decision, expect, open_film, read_film

from cxr_reason.reading.reading import DISCLAIMER, Reading

SENTENCES, ANSWER = page_stand_in.SENTENCES, page_stand_in.ANSWER


def test_a_reading_streams_and_shows_where_its_findings_come_from(
    page: Any, stand_in: Any, rg1_path: Path
) -> None:
    stand_in.pace_s = 0.1
    open_film(page, rg1_path)
    rows = page.locator("tbody th[scope=row]")
    expect(rows).to_have_text(["Cardiomegaly"])
    expect(page.get_by_role("status").get_by_text("Reading", exact=True)).to_be_visible()
    expect(page.get_by_text("Reading complete")).to_be_visible()
    expect(rows).to_have_text(["Cardiomegaly", "Pleural Effusion", "Pneumothorax", "Atelectasis"])
    trace = page.get_by_role("region", name="Text of the reasoning")
    expect(trace).to_have_text("".join(SENTENCES))
    expect(page.get_by_text(ANSWER)).to_be_visible()
    expect(page.get_by_text(DISCLAIMER)).to_be_visible()

    expect(page.get_by_text("The answer names it; the reasoning only denies it.")).to_be_visible()
    notices = page.get_by_role("list", name="Notices")
    for text in ("Scoliosis", "Model: Scripted by a test.", "no usable window"):
        expect(notices).to_contain_text(text)

    before, _ = canvas_pixels(page)
    page.get_by_role("button", name="Pleural Effusion").click()
    # Two characters before the sentence are counted differently by JavaScript and Python.
    expect(trace.locator("mark.selected")).to_have_text(SENTENCES[2].strip())
    outlined, _ = canvas_pixels(page)
    _, columns = np.nonzero((outlined != before).any(axis=2))
    assert len(columns) > 200
    assert columns.max() < outlined.shape[1] / 2, "the patient's right is at the left"
    page.keyboard.press("Escape")
    assert (canvas_pixels(page)[0] == before).all()

    page.get_by_role("button", name="Reasoning").click()
    expect(trace).to_be_hidden()
    page.get_by_role("button", name="Cardiomegaly").click()
    expect(trace.locator("mark.selected")).to_be_visible()


@pytest.mark.parametrize(
    ("outcome", "text"), [("truncated", "token limit"), ("refused", "The model refused")]
)
def test_how_a_reading_ended_is_shown(
    page: Any, stand_in: Any, rg1_path: Path, outcome: str, text: str
) -> None:
    stand_in.outcome = outcome
    read_film(page, rg1_path)
    expect(page.get_by_role("list", name="Notices")).to_contain_text(text)


def test_flags_of_the_film_are_shown_before_it_is_read(
    page: Any, stand_in: Any, tmp_path: Path
) -> None:
    stand_in.pace_s = 0.3
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(tmp_path / "film.png")
    open_film(page, tmp_path / "film.png")
    notices = page.get_by_role("list", name="Notices")
    expect(notices).to_contain_text("does not say whether the film is PA or AP")
    expect(page.locator(".phase")).not_to_have_text("Reading complete")


def test_stop_ends_the_request_and_keeps_what_came(
    page: Any, stand_in: Any, rg1_path: Path
) -> None:
    stand_in.pace_s = 0.15
    open_film(page, rg1_path)
    expect(page.locator("tbody th[scope=row]")).to_have_text(["Cardiomegaly"])
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped")).to_be_visible()
    expect(page.locator("tbody th[scope=row]")).to_have_text(["Cardiomegaly"])
    for _ in range(100):
        if stand_in.num_left:
            break
        page.wait_for_timeout(50)
    assert stand_in.num_left == 1, "the server saw the page leave"
    stand_in.pace_s = 0
    page.get_by_role("button", name="Read again").click()
    expect(page.get_by_text("Reading complete")).to_be_visible()


def test_a_follow_up_carries_the_film_and_the_conversation(
    page: Any, stand_in: Any, rg1_path: Path
) -> None:
    read_film(page, rg1_path)
    page.get_by_role("button", name="Provide differentials.").click()
    expect(page.get_by_text("You asked: Provide differentials.")).to_be_visible()
    page.get_by_label("Follow-up question").fill("Is it large?")
    page.keyboard.press("Enter")
    expect(page.get_by_text("You asked: Is it large?")).to_be_visible()
    messages = stand_in.requests[-1][1]["messages"]
    url = messages[0]["content"][0]["image_url"]["url"]
    assert url == f"sha256:{hashlib.sha256(rg1_path.read_bytes()).hexdigest()}"
    assert messages[1]["content"].startswith("<think>")
    assert [message["content"] for message in messages[2:]] == [
        "Provide differentials.",
        "You asked: Provide differentials.",
        "Is it large?",
    ]


def test_a_film_that_the_server_lost_is_sent_again(
    page: Any, stand_in: Any, rg1_path: Path
) -> None:
    read_film(page, rg1_path)
    page.get_by_role("button", name="Read again").click()
    expect(page.get_by_text("Reading complete")).to_be_visible()
    assert [sorted({"film", "image_digest"} & set(fields)) for _, fields in stand_in.requests] == [
        ["film"],
        ["image_digest"],
    ]
    stand_in.held.clear()
    page.get_by_role("button", name="Provide differentials.").click()
    expect(page.get_by_text("You asked: Provide differentials.")).to_be_visible()
    url = stand_in.requests[-1][1]["messages"][0]["content"][0]["image_url"]["url"]
    assert url.startswith("data:application/dicom;base64,")
    assert base64.b64decode(url.partition(",")[2]) == rg1_path.read_bytes()


def test_a_review_is_signed_off_and_exported(page: Any, stand_in: Any, rg1_path: Path) -> None:
    read_film(page, rg1_path)
    decision(page, "Cardiomegaly", "Accept").click()
    decision(page, "Pneumothorax", "Reject").click()
    decision(page, "Atelectasis", "Edit").click()
    page.get_by_label("Status").select_option("present")
    page.get_by_label("Comment").fill("plate-like")
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Add finding").click()
    page.get_by_label("Finding to add").select_option("Lung Lesion")
    page.get_by_role("button", name="Accept all").click()
    expect(page.get_by_text("5 of 6 reviewed")).to_be_visible()
    page.wait_for_timeout(300)
    page.get_by_role("button", name="Sign off").click()
    expect(page.get_by_text("Signed off after")).to_be_visible()
    expect(decision(page, "Cardiomegaly", "Reject")).to_be_disabled()

    with page.expect_download() as download:
        page.get_by_role("button", name="Export JSON").click()
    digest = hashlib.sha256(rg1_path.read_bytes()).hexdigest()
    assert download.value.suggested_filename == f"cxr-review-{digest[:12]}.json"
    review = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert review["schema"] == "cxr-reason/review/1"
    assert review["disclaimer"] == DISCLAIMER
    decisions = {item["label"]: item["decision"] for item in review["findings"]}
    assert decisions == {
        "Cardiomegaly": "accepted",
        "Pleural Effusion": None,
        "Pneumothorax": "rejected",
        "Lung Lesion": "edited",
        "Fracture": "accepted",
        "Atelectasis": "edited",
    }
    seconds = review["times"]["seconds"]
    moments = ["shown", "reading_started", "first_text", "reading_done", "signed_off"]
    assert list(seconds) == moments
    assert sorted(seconds.values()) == list(seconds.values())
    assert seconds["signed_off"] - seconds["reading_done"] >= 0.3
    assert Reading.from_json(json.dumps(review["reading"])).text.startswith("<think>")

    with page.expect_download() as download:
        page.get_by_role("button", name="Export text").click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert text.startswith(DISCLAIMER)
    assert "- Atelectasis: present, left lower zone. plate-like" in text
    assert "- Lung Lesion: present (added by the reader)" in text
    assert re.search(r"REJECTED BY THE READER\n- Pneumothorax", text)
    assert re.search(r"NOT REVIEWED\n- Pleural Effusion", text)


def test_a_reload_keeps_nothing_of_the_patient(page: Any, stand_in: Any, rg1_path: Path) -> None:
    stand_in.key = "secret"
    open_film(page, rg1_path)
    page.get_by_role("textbox", name="API key").fill("secret")
    page.get_by_role("button", name="Use key").click()
    expect(page.get_by_text("Reading complete")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Drop a chest film here")).to_be_visible()
    expect(page.get_by_text("None stated yet.")).to_be_visible()
    kept = page.evaluate(
        "async () => [{...localStorage}, {...sessionStorage}, document.cookie,"
        " await indexedDB.databases(), await caches.keys()]"
    )
    assert kept == [{}, {"cxr-reason-api-key": "secret"}, "", [], []]


def test_a_wrong_key_is_asked_for_again(page: Any, stand_in: Any, rg1_path: Path) -> None:
    stand_in.key = "secret"
    open_film(page, rg1_path)
    for key in ("wrong", "secret"):
        page.get_by_role("textbox", name="API key").fill(key)
        page.get_by_role("button", name="Use key").click()
    expect(page.get_by_text("Reading complete")).to_be_visible()


@pytest.mark.parametrize(
    ("fault", "text"),
    [("busy", "the queue is full"), ("cut", "The connection ended before the reading")],
)
def test_a_fault_of_the_server_is_shown_and_can_be_tried_again(
    page: Any, stand_in: Any, rg1_path: Path, fault: str, text: str
) -> None:
    stand_in.fault = fault
    open_film(page, rg1_path)
    expect(page.get_by_role("alert")).to_contain_text(text)
    stand_in.fault = ""
    page.get_by_role("button", name="Read", exact=True).click()
    expect(page.get_by_text("Reading complete")).to_be_visible()


def test_an_unreachable_server_is_shown(page: Any, stand_in: Any, rg1_path: Path) -> None:
    open_film(page, rg1_path)
    expect(page.get_by_text("Reading complete")).to_be_visible()
    stand_in.close()
    page.get_by_role("button", name="Read again").click()
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached")
    expect(page.get_by_role("button", name="Server unreachable")).to_be_visible()


def test_the_page_is_whole_at_200_percent(page: Any, rg1_path: Path) -> None:
    # What a window of 1280 x 800 is at 200 % zoom.
    page.set_viewport_size({"width": 640, "height": 400})
    read_film(page, rg1_path)
    page.locator("details").evaluate_all("(all) => all.forEach((one) => (one.open = true))")
    decision(page, "Atelectasis", "Edit").click()
    for part in ("html", ".panel", ".findings"):
        too_wide = page.locator(part).evaluate("(part) => part.scrollWidth - part.clientWidth")
        assert too_wide <= 0
    for button in page.get_by_role("button").all():
        box = button.bounding_box()
        assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= 640)


def test_every_control_has_a_name_and_a_visible_focus(page: Any, rg1_path: Path) -> None:
    read_film(page, rg1_path)
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => {
                const it = document.activeElement;
                const name = it.ariaLabel || it.labels?.[0]?.innerText || it.innerText;
                return [name, getComputedStyle(it).outlineStyle];
            }"""
        )
        if name in seen and name == "Open film":
            break
        assert name.strip()
        assert outline == "solid" or name.startswith("cxr-reason"), name
        seen.add(name)
    assert {"Sign off", "Export JSON", "Text of the reasoning", "Invert", "Reject"} <= seen
