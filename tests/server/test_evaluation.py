"""Reading many films, changing them, and what a scripted reader gets for it.

Scripted readers stand in for models: nothing that can be trained here reads films well enough for
the numbers to be known beforehand.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from cxr_reason.data.phantoms import make_phantom
from cxr_reason.data.releases import Box
from cxr_reason.engine.base import SamplingParams
from cxr_reason.errors import (
    BadRequestError,
    DataError,
    EngineError,
    GenerationError,
    RequestCancelledError,
    ServerUnavailableError,
)
from cxr_reason.evaluation.backends import Output
from cxr_reason.evaluation.cases import Case, case_of_phantom, load_cases, parse_source
from cxr_reason.evaluation.evaluate import Evaluation, EvaluationSettings, evaluate_cases
from cxr_reason.evaluation.faithfulness import choose_pairs
from cxr_reason.evaluation.occlusion import (
    encode_png,
    feather_px,
    find_elsewhere,
    occlude,
    show,
    to_pixels,
)
from cxr_reason.evaluation.report import write_report
from cxr_reason.evaluation.run import Record, Run
from cxr_reason.evaluation.summary import to_json
from cxr_reason.film.radiograph import decode_radiograph
from cxr_reason.findings import LABELS
from cxr_reason.reading.reading import DISCLAIMER

SIZE = 96
GREEDY = (SamplingParams(),)


def make_case(number: int, finding: str | None) -> Case:
    """A gray film with noise; a lesion is a bright square, an effusion a dark one."""
    rng = np.random.default_rng(number)
    film = (0.45 + 0.1 * rng.random((SIZE, SIZE))).astype(np.float32)
    boxes = ()
    if finding is not None:
        x, y = 12 + number % 20, 20 + number % 30
        film[y : y + 14, x : x + 14] = 0.95 if finding == "Lung Lesion" else 0.05
        boxes = (Box(finding, x / SIZE, y / SIZE, 14 / SIZE, 14 / SIZE),)
    png = encode_png(film)
    labels = dict.fromkeys(("Lung Lesion", "Pleural Effusion"), "absent")
    labels |= {"No Finding": "absent"} if finding else {"No Finding": "present"}
    labels |= {finding: "present"} if finding else {}
    views = ("AP", "PA")
    return Case(lambda: png, labels, boxes, sex="F", age_band="<40", view=views[number % 2])


@pytest.fixture
def cases() -> list[Case]:
    return [make_case(i, ("Lung Lesion", "Pleural Effusion", None)[i % 3]) for i in range(30)]


class ScriptedReader:
    """Answers what `look` sees in the display intensities of a film."""

    def __init__(self, look, concurrency=3):
        self.provenance = {"backend": "script"}
        self.look = look
        self.concurrency = concurrency
        self.num_reads = 0
        self.was_stopped = self.was_closed = False
        self.lock = threading.Lock()

    def read(self, film, samplings):
        with self.lock:
            self.num_reads += 1
        answer = self.look(show(decode_radiograph(film)))
        text = f"<think> I look. </think>\n<answer> {answer} </answer>"
        return [Output(text, False, 12)] * len(samplings)

    def stop(self):
        self.was_stopped = True

    def close(self):
        self.was_closed = True


def look_at_pixels(film) -> str:
    if film.max() > 0.9:
        return "Lung Lesion"
    return "Pleural Effusion" if film.min() < 0.1 else "No Finding"


def evaluate(cases, look, **settings) -> Evaluation:
    chosen = EvaluationSettings(**settings)
    with Run(ScriptedReader(look), chosen.samplings) as run:
        return evaluate_cases(cases, run, chosen)


def test_a_reader_that_sees_everything_is_perfect(cases: list[Case]) -> None:
    result = evaluate(cases, look_at_pixels)
    assert result.macro_f1.value == result.macro_f1.low == result.macro_f1.high == 1.0
    assert result.macro_auroc.value == 1.0
    assert result.calibration_error.value == 0.0
    assert result.outcomes["complete"] == 1.0
    assert result.errors == {}
    part = result.faithfulness
    assert part is not None
    assert part.num_pairs == 20
    assert {row.label: row.num_pairs for row in part.by_label} == {
        "Lung Lesion": 10,
        "Pleural Effusion": 10,
    }
    values = {name: found.value for name, found in part.probability.items()}
    assert values == {"original": 1, "own": 0, "elsewhere": 1, "blank": 0, "swapped": 0}
    assert (part.drop_own.value, part.drop_elsewhere.value) == (1.0, 0.0)
    assert part.difference.low == 1.0
    # Blank films should be refused, and it does not know that.
    assert part.blank_refusal_rate == 0.0


def test_a_reader_that_never_looks_is_detected(cases: list[Case]) -> None:
    result = evaluate(cases, lambda film: "Lung Lesion")
    by_name = {label.label: label for label in result.labels}
    # A third of the films has one: precision 1/3, recall 1, F1 1/2; the other two labels 0.
    assert by_name["Lung Lesion"].f1.value == pytest.approx(0.5)
    assert by_name["Lung Lesion"].auroc.value == 0.5
    assert by_name["Edema"].f1.value is None
    assert result.macro_f1.value == pytest.approx(0.5 / 3)
    part = result.faithfulness
    assert part is not None
    lesion = next(row for row in part.by_label if row.label == "Lung Lesion")
    assert set(lesion.probability.values()) == {1.0}
    assert part.drop_own.value == part.difference.value == 0.0


def test_a_reader_that_looks_in_the_wrong_place_is_detected(cases: list[Case]) -> None:
    # Blind where something flat is on the right of the film: there "elsewhere" covers.
    def look(film) -> str:
        num_flat = int((np.diff(film[:, SIZE // 2 :], axis=1) == 0).sum())
        return look_at_pixels(film) if num_flat < 50 else "No Finding"

    part = evaluate(cases, look).faithfulness
    assert part is not None
    assert part.drop_elsewhere.value == 1.0
    assert part.difference.value == 0.0


def test_subgroups_have_their_own_films(cases: list[Case]) -> None:
    # Wrong on AP films, which have the even numbers.
    answers = {case.load(): look_at_pixels(show(decode_radiograph(case.load()))) for case in cases}

    class HalfBlind(ScriptedReader):
        def read(self, film, samplings):
            number = [case.load() for case in cases].index(film)
            answer = "Fracture" if number % 2 == 0 else answers[film]
            text = f"<think> a </think>\n<answer> {answer} </answer>"
            return [Output(text, False, 1)]

    settings = EvaluationSettings(faithfulness=0)
    with Run(HalfBlind(look_at_pixels), settings.samplings) as run:
        result = evaluate_cases(cases, run, settings)
    groups = {(group.attribute, group.value): group for group in result.groups}
    assert groups["view", "AP"].macro_f1.value == 0.0
    assert groups["view", "PA"].macro_f1.value == 1.0
    assert groups["sex", "F"].num_films == 30
    assert ("sex", "M") not in groups
    assert result.faithfulness is None


def test_several_traces_ask_for_the_greedy_one_and_seeds() -> None:
    settings = EvaluationSettings(num_traces=3, temperature=0.7, seed=5, max_tokens=9)
    greedy, *sampled = settings.samplings
    assert (greedy.temperature, greedy.max_tokens) == (0.0, 9)
    assert [item.seed for item in sampled] == [5, 6, 7]
    assert {item.temperature for item in sampled} == {0.7}
    assert len(EvaluationSettings().samplings) == 1
    with pytest.raises(BadRequestError, match="temperature"):
        EvaluationSettings(num_traces=2, temperature=0.0)


def test_failed_films_are_counted_and_the_others_are_read(cases: list[Case]) -> None:
    def look(film) -> str:
        if film.max() > 0.9:
            raise GenerationError("engine: a step failed")
        return look_at_pixels(film)

    broken = Case(lambda: b"no image", {"Edema": "present"})
    result = evaluate([*cases, broken], look)
    assert result.num_films == 20
    assert result.errors == {"generation": 10, "unreadable_image": 1}
    with pytest.raises(EngineError, match=r"none of 1 films.*unreadable_image \(1\)"):
        evaluate([broken], look)
    with pytest.raises(DataError, match="no films"):
        evaluate([], look)


def test_a_server_that_is_gone_ends_the_run(cases: list[Case]) -> None:
    def look(film) -> str:
        raise ServerUnavailableError("gone")

    with pytest.raises(ServerUnavailableError):
        evaluate(cases, look)


def test_order_is_kept_and_equal_films_are_read_once(cases: list[Case]) -> None:
    reader = ScriptedReader(look_at_pixels)
    with Run(reader, GREEDY) as run:
        results = list(run.read_all([case.load for case in cases] * 2))
        assert run.num_tokens == 30 * 12
    assert reader.num_reads == run.num_read == 30
    assert reader.was_closed
    assert not reader.was_stopped
    answers = [result.outputs[0].text.split("<answer> ")[1] for result in results[:3]]
    assert [answer.split(" <")[0] for answer in answers] == [
        "Lung Lesion",
        "Pleural Effusion",
        "No Finding",
    ]
    assert results[:30] == results[30:]


def test_interruption_stops_the_run_and_a_record_resumes_it(
    cases: list[Case], tmp_path: Path
) -> None:
    path = tmp_path / "record.jsonl"
    settings = {"prompt": "p", "samplings": [1]}

    class Blocking(ScriptedReader):
        """Reads the first ten films; the others wait until they are stopped."""

        def __init__(self):
            super().__init__(look_at_pixels)
            self.stopped = threading.Event()
            # By their bytes: threads come here in any order.
            self.first = {case.load() for case in cases[:10]}

        def read(self, film, samplings):
            result = super().read(film, samplings)
            if film not in self.first:
                assert self.stopped.wait(20)
                raise RequestCancelledError("interrupted")
            return result

        def stop(self):
            self.stopped.set()

    reader = Blocking()
    with (
        pytest.raises(KeyboardInterrupt),
        Run(reader, GREEDY, Record(path, settings)) as run,
    ):
        for number, _ in enumerate(run.read_all(case.load for case in cases), start=1):
            if number == 6:
                raise KeyboardInterrupt
    assert reader.was_closed
    num_finished = len(path.read_text().splitlines()) - 1
    assert 6 <= num_finished <= 10
    # A line that was being written when the power went.
    with path.open("a") as file:
        file.write('{"film": "ab')

    second = ScriptedReader(look_at_pixels)
    with Run(second, GREEDY, Record(path, settings)) as run:
        resumed = list(run.read_all(case.load for case in cases))
    assert second.num_reads == 30 - num_finished
    with Run(ScriptedReader(look_at_pixels), GREEDY) as run:
        assert resumed == list(run.read_all(case.load for case in cases))
    third = ScriptedReader(look_at_pixels)
    with Run(third, GREEDY, Record(path, settings)) as run:
        assert list(run.read_all(case.load for case in cases)) == resumed
    assert third.num_reads == 0


def test_a_record_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    Record(path, {"prompt": "a", "seed": 1}).close()
    with pytest.raises(BadRequestError, match="another prompt"):
        Record(path, {"prompt": "b", "seed": 1})
    path.write_text("label,value\n")
    with pytest.raises(BadRequestError, match="not a record"):
        Record(path, {"prompt": "a", "seed": 1})


def test_failed_films_are_not_recorded(tmp_path: Path, cases: list[Case]) -> None:
    def look(film) -> str:
        raise GenerationError("engine: a step failed")

    path = tmp_path / "record.jsonl"
    with Run(ScriptedReader(look), GREEDY, Record(path, {})) as run:
        assert {result.error for result in run.read_all([cases[0].load])} == {"generation"}
    assert len(path.read_text().splitlines()) == 1


def test_a_cover_hides_its_box_and_nothing_far_away() -> None:
    rng = np.random.default_rng(0)
    film = (0.3 + 0.05 * rng.random((200, 160))).astype(np.float32)
    film[50:90, 40:70] = 0.95
    box = (40, 50, 70, 90)
    covered = occlude(film, [box])
    feather = feather_px(200, 160)
    inside = covered[50:90, 40:70]
    assert inside.std() < 1e-6
    assert inside.mean() == pytest.approx(0.325, abs=0.005)
    changed = np.argwhere(covered != film)
    assert changed.min(axis=0).tolist() == [50 - feather + 1, 40 - feather + 1]
    assert changed.max(axis=0).tolist() == [90 + feather - 2, 70 + feather - 2]


@pytest.mark.parametrize("box", [(0, 0, 160, 200), (0, 0, 20, 20), (150, 190, 160, 200)])
def test_covers_at_the_edge_and_of_everything(box) -> None:
    film = np.full((200, 160), 0.7, np.float32)
    covered = occlude(film, [box])
    assert np.isfinite(covered).all()
    x0, y0, x1, y1 = box
    assert covered[y0:y1, x0:x1].std() < 1e-6


def test_elsewhere_is_the_free_mirror_image() -> None:
    box = (20, 50, 50, 90)
    assert find_elsewhere([box], [box], 200, 160) == [(110, 50, 140, 90)]
    other = (100, 40, 150, 100)
    (place,) = find_elsewhere([box], [box, other], 200, 160) or [None]
    gap = feather_px(200, 160)
    for x0, y0, x1, y1 in (box, other):
        x_apart = place[0] >= x1 + gap or place[2] <= x0 - gap
        y_apart = place[1] >= y1 + gap or place[3] <= y0 - gap
        assert x_apart or y_apart
    assert (place[2] - place[0], place[3] - place[1]) == (30, 40)


def test_elsewhere_for_two_boxes_and_where_no_place_is_free() -> None:
    pair = [(10, 50, 40, 90), (120, 50, 150, 90)]
    first, second = find_elsewhere(pair, pair, 200, 160) or [None, None]
    assert len({first, second, *pair}) == 4
    large = (10, 10, 150, 150)
    assert find_elsewhere([large], [large], 200, 160) is None


def test_a_png_holds_the_intensities() -> None:
    rng = np.random.default_rng(0)
    film = rng.random((30, 40)).astype(np.float32)
    assert np.abs(show(decode_radiograph(encode_png(film))) - film).max() < 1e-5


def test_a_phantom_has_the_boxes_of_all_that_a_label_rests_on() -> None:
    phantom = make_phantom(11, labels={"Pneumonia": "present", "Fracture": "uncertain"})
    case = case_of_phantom(phantom)
    height, width = phantom.pixels.shape
    by_label = {
        label: {to_pixels(box, height, width) for box in case.boxes if box.label == label}
        for label in LABELS
    }
    drawn = {finding.label: finding.box for finding in phantom.findings}
    assert drawn.keys() == {"Pneumonia", "Consolidation", "Fracture"}
    assert by_label["Pneumonia"] == {drawn["Pneumonia"]}
    opacities = {drawn["Pneumonia"], drawn["Consolidation"]}
    assert by_label["Consolidation"] == by_label["Lung Opacity"] == opacities
    assert by_label["Fracture"] == {drawn["Fracture"]}
    assert show(decode_radiograph(case.load())) == pytest.approx(
        phantom.display_table[phantom.pixels]
    )
    pairs = choose_pairs([case, make_case(0, None)], [True, True], 10, seed=0)
    # The fracture is uncertain, and the other film says nothing of the opacities.
    assert pairs == []


@pytest.mark.parametrize("label", ["Lung Lesion", "Pneumothorax", "Support Devices"])
def test_under_its_cover_a_film_with_a_finding_is_one_without(label: str) -> None:
    films = [make_phantom(3, labels=labels) for labels in ({}, {label: "present"})]
    healthy, ill = (film.display_table[film.pixels] for film in films)
    boxes = [finding.box for finding in films[1].findings]
    change = np.abs(ill - healthy).max()
    left = np.abs(occlude(ill, boxes) - occlude(healthy, boxes)).max()
    # A box leaves out what is fainter than 0.08 of the finding.
    assert left < 0.25 * change


def test_pairs_take_labels_in_turn_and_swap_with_films_without(cases: list[Case]) -> None:
    pairs = choose_pairs(cases, [True] * 30, 8, seed=1)
    labels = [pair.label for pair in pairs]
    assert len({pair.index for pair in pairs}) == 8
    assert {*labels} == {"Lung Lesion", "Pleural Effusion"}
    assert all(cases[pair.swapped].labels[pair.label] == "absent" for pair in pairs)
    unread = [index not in {pair.index for pair in pairs} for index in range(30)]
    again = choose_pairs(cases, unread, 30, seed=1)
    assert all(unread[pair.index] and unread[pair.swapped] for pair in again)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("phantom", "neither 'phantoms' nor a folder"),
        ("phantoms:tests", "train, validation, test"),
        ("/does/not/exist", "neither"),
        ("", "neither"),
    ],
)
def test_wrong_sources_say_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        parse_source(text)


def test_the_test_split_unless_another_is_named(tmp_path: Path) -> None:
    assert parse_source("phantoms").name == "phantoms:test"
    assert parse_source("phantoms:validation").split == "validation"
    assert parse_source(f"{tmp_path}").split == "test"
    assert parse_source(f"{tmp_path}:train").split == "train"


def test_a_folder_without_a_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels\.csv .*valid\.csv \(CheXpert\)"):
        load_cases(parse_source(str(tmp_path)), None, seed=0)


def write_subset(folder: Path) -> None:
    """Two films of each split of the NIH subset."""
    (folder / "jpg320").mkdir()
    header = "image,labels,patient_id,age,sex,view,bboxes,split_by_patient,has_png1024"
    box = '"[{""label"": ""Effusion"", ""xywh_1024"": [512, 256, 256, 128]}]"'
    rows = []
    for number, split in enumerate(("train", "val", "test", "test"), start=1):
        name = f"{number:08d}_000"
        (folder / "jpg320" / f"{name}.jpg").write_bytes(make_jpeg())
        rows.append(f"{name}.png,Effusion,{number},{60 + number},F,AP,{box},{split},0")
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n")


def make_jpeg() -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (32, 32), 90).save(buffer, "JPEG")
    return buffer.getvalue()


def test_a_release_gives_its_test_films_alone(tmp_path: Path) -> None:
    write_subset(tmp_path)
    cases = load_cases(parse_source(str(tmp_path)), None, seed=0)
    assert [case.age_band for case in cases] == ["40-64", "40-64"]
    case = cases[0]
    assert (case.labels["Pleural Effusion"], case.view, case.sex) == ("present", "AP", "F")
    assert to_pixels(case.boxes[0], 32, 32) == (16, 8, 24, 12)
    assert case.load() == make_jpeg()
    assert len(load_cases(parse_source(str(tmp_path)), 1, seed=0)) == 1
    assert len(load_cases(parse_source(f"{tmp_path}:validation"), None, seed=0)) == 1


def test_a_split_that_a_release_lacks_is_an_error(tmp_path: Path) -> None:
    write_subset(tmp_path)
    table = tmp_path / "labels.csv"
    table.write_text(table.read_text().replace(",test,", ",train,"))
    with pytest.raises(DataError, match="no split 'test'; it has train, validation"):
        load_cases(parse_source(str(tmp_path)), None, seed=0)


@pytest.fixture
def origin() -> dict:
    model = {"backend": "script", "model_notice": "<b>not a model</b>"}
    return {"model": model, "data": "made:test", "settings": {"prompt": "p"}, "command": "c"}


def test_json_is_a_benchmarks_line_with_macro_f1(cases: list[Case], origin: dict) -> None:
    result = evaluate(cases, look_at_pixels, faithfulness=4)
    line = to_json(result, origin)
    report = json.loads(line)
    assert "\n" not in line
    assert {"benchmark", "machine", "commit", "versions", "results"} <= report.keys()
    assert report["macro_f1"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert report["disclaimer"] == DISCLAIMER
    rows = {(row["case"], row["metric"]): row for row in report["results"]}
    assert len(rows) == len(report["results"])
    assert rows["Lung Lesion", "F1"]["present"] == 10
    assert rows["Edema", "AUROC"]["value"] is None
    assert rows["view AP", "macro F1"]["films"] == 15
    assert rows["own beyond elsewhere", "drop of probability"]["value"] == 1.0


@pytest.mark.parametrize("faithfulness", [0, 4])
def test_the_report_stands_alone_and_escapes(
    cases: list[Case], origin: dict, tmp_path: Path, faithfulness: int
) -> None:
    path = tmp_path / "report.html"
    write_report(path, evaluate(cases, look_at_pixels, faithfulness=faithfulness), origin)
    page = path.read_text(encoding="utf-8")
    assert DISCLAIMER in page
    assert "&lt;b&gt;not a model" in page
    assert "<b>" not in page
    assert page.count('src="data:image/svg+xml;base64,') == (5 if faithfulness else 4)
    assert "http" not in page
    assert "Lung Lesion" in page
