"""Facts and the rules writer: every trace says what its source says, in order, and no more."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from cxr_reason.data.phantoms import Phantom, make_phantom
from cxr_reason.data.releases import Box, Example, load_nih_subset, load_openi
from cxr_reason.findings import LABELS, NO_FINDING
from cxr_reason.reading.audit import audit_trace
from cxr_reason.reading.trace import Outcome, Trace, parse_trace
from cxr_reason.statements import TO_CHEXPERT, Polarity, find_statements, label_report
from cxr_reason.statements.sentences import split_sentences
from cxr_reason.training.rewards import consistency_reward, f1_reward_hard, structure_reward
from cxr_reason.training.traces import (
    Facts,
    Sign,
    TraceError,
    facts_of_example,
    facts_of_phantom,
    facts_of_report,
    gold_answer,
    write_trace,
)

NUM_PHANTOMS = 200
PLACED = (
    *("Lung Opacity", "Consolidation", "Pneumonia", "Atelectasis", "Edema", "Lung Lesion"),
    *("Pneumothorax", "Pleural Effusion", "Pleural Other"),
)
ZONE_SENTENCE = re.compile(
    r"The (right|left) (upper|middle|lower) zone is (clear|abnormal|doubtful)\."
)
PINNED = (
    "<think> This is a frontal AP film of the chest. Lines and wires are not judged on this film."
    " The airway is followed down to the carina. The lungs are compared side by side, zone by "
    "zone, from the apex to the base and from the middle to the chest wall. What is found is "
    "named in turn, as far as it can be placed on this film. The pleura is followed on both "
    "sides. There is a pneumothorax in the left upper zone, rather than the edge of the scapula. "
    "The mediastinum is followed from the neck down to the heart, along both of its borders. The "
    "hila are compared for height. The heart is not enlarged. The upper abdomen is looked at. The"
    " bones are compared side by side. Their edges are traced as far as they can be told apart. "
    "In summary, the film shows a pneumothorax. </think>\n"
    "<answer> Pneumothorax </answer>"
)
NORMAL: dict[str, Polarity] = {**dict.fromkeys(LABELS, "absent"), NO_FINDING: "present"}


@pytest.fixture(scope="module")
def written() -> list[tuple[Phantom, str]]:
    """Phantoms with their traces."""
    # The smallest film: only its ground truth matters here.
    phantoms = [make_phantom(seed, 64) for seed in range(NUM_PHANTOMS)]
    return [(phantom, write_trace(facts_of_phantom(phantom), phantom.seed)) for phantom in phantoms]


def assert_sound(text: str, states: Mapping[str, Polarity]) -> Trace:
    """Judge a trace without the package's own check."""
    trace = parse_trace(text, truncated=False)
    assert trace.outcome is Outcome.COMPLETE
    assert not trace.issues
    assert re.fullmatch(r"<think> [^<>\n]+ </think>\n<answer> [^<>\n]+ </answer>", text)
    assert audit_trace(trace)[1] == ()
    stated = {k: v for k, v in label_report(trace.reasoning, "chexpert").items() if k != NO_FINDING}
    assert stated == {label: state for label, state in states.items() if label != NO_FINDING}
    assert structure_reward(text) == 1.0
    assert f1_reward_hard(text, gold_answer(states)) == 1.0
    # Suspicions alone are answered, and support of a hedged answer counts half.
    has_present = any(states.get(label) == "present" for label in LABELS)
    assert consistency_reward(text) == (1.0 if has_present else 0.5)
    return trace


def test_traces_of_phantoms_say_their_labels(written: list[tuple[Phantom, str]]) -> None:
    for phantom, text in written:
        trace = assert_sound(text, phantom.labels)
        others = {label: state for label, state in phantom.labels.items() if label != NO_FINDING}
        present = [label for label, state in others.items() if state == "present"]
        uncertain = [label for label, state in others.items() if state == "uncertain"]
        assert [*trace.labels] == (present or uncertain or [NO_FINDING])


def test_traces_of_phantoms_place_what_is_drawn(written: list[tuple[Phantom, str]]) -> None:
    num_placed = 0
    for phantom, text in written:
        found = find_statements(text[: text.index("In summary")])
        for label in (*PLACED, "Fracture"):
            clauses = [one for one in found if TO_CHEXPERT.get(one.finding) == label]
            sentences = {one.sentence_start for one in clauses}
            assert len(sentences) == 1, "one deciding clause for a label"
            state = phantom.labels[label]
            sides = {f.side for f in phantom.findings_of(label) if f.state == state}
            expected = "bilateral" if len(sides) == 2 else next(iter(sides), None)
            # A kind, such as "a nodule", comes second and has no side of its own.
            assert clauses[0].side == expected
            num_placed += expected is not None
    assert num_placed > NUM_PHANTOMS / 2


def test_zones_are_clear_exactly_where_nothing_is_drawn(written: list[tuple[Phantom, str]]) -> None:
    words = {"upper": "upper", "mid": "middle", "lower": "lower"}
    for phantom, text in written:
        said = ZONE_SENTENCE.findall(text)
        assert len(said) == 6
        for side, third, state in said:
            drawn = {
                finding.state
                for finding in phantom.findings
                if finding.label in PLACED
                and finding.side == side
                and (finding.zone == "diffuse" or words.get(finding.zone) == third)
            }
            expected = "abnormal" if "present" in drawn else "doubtful" if drawn else "clear"
            assert state == expected


def test_lengths(written: list[tuple[Phantom, str]]) -> None:
    # The rewards' band of lengths begins at 180 tokens; full stops and commas are tokens too.
    lengths = [len(re.findall(r"\w+|[.,<>/]+", text)) for _, text in written]
    assert min(lengths) >= 180
    assert max(lengths) <= 330


def test_same_seed_same_text() -> None:
    facts = Facts(NORMAL)
    assert write_trace(facts, 5) == write_trace(facts, 5)
    assert len({write_trace(facts, seed) for seed in range(20)}) > 10


def test_the_text_of_a_seed_is_pinned() -> None:
    # The stream of `random.random` is the same on every platform and version of Python.
    states: dict[str, Polarity] = {"Pneumothorax": "present", "Cardiomegaly": "absent"}
    facts = Facts(states, (Sign("Pneumothorax", "present", "left", "upper"),), "AP")
    assert write_trace(facts, 1) == PINNED


def test_unknown_labels_are_not_mentioned() -> None:
    rng = random.Random(0)
    states: tuple[Polarity, ...] = ("present", "absent", "uncertain")
    sides, zones = ("left", "right", "bilateral", None), ("upper", "mid", "lower", "diffuse", None)
    num_written = 0
    for seed in range(300):
        share = rng.random()
        known = [label for label in LABELS if label != NO_FINDING and rng.random() < share]
        drawn = {label: rng.choice(states) for label in known}
        signs = [
            Sign(label, state, rng.choice(sides), rng.choice(zones), rng.choice(["mass", None]))  # type: ignore[arg-type]
            for label, state in drawn.items()
            if state != "absent"
            for _ in range(rng.randrange(3))
        ]
        if set(drawn.values()) <= {"absent"}:
            continue
        assert_sound(write_trace(Facts(drawn, tuple(signs)), seed), drawn)
        num_written += 1
    assert num_written > 200


@pytest.mark.parametrize("label", [label for label in LABELS if label != NO_FINDING])
@pytest.mark.parametrize("state", ["present", "uncertain"])
def test_each_label_alone(label: str, state: Polarity) -> None:
    for others in (NORMAL | {NO_FINDING: "absent"}, {}):
        states = {**others, label: state}
        for seed in range(6):
            assert_sound(write_trace(Facts(states), seed), states)


@pytest.mark.parametrize(
    ("states", "answer"),
    [
        (NORMAL, "No Finding"),
        ({**NORMAL, "Support Devices": "present"}, "Support Devices"),
        ({"Pneumonia": "present", "Edema": "uncertain", "Fracture": "absent"}, "Pneumonia"),
        ({"Pneumonia": "present", "Edema": "present"}, "Edema, Pneumonia"),
        ({"Lung Opacity": "uncertain", "Edema": "uncertain"}, "Edema, Lung Opacity"),
        ({NO_FINDING: "present"}, "No Finding"),
        ({NO_FINDING: "absent", "Fracture": "absent"}, ""),
        ({NO_FINDING: "uncertain", "Fracture": "absent"}, ""),
        ({}, ""),
    ],
)
def test_gold_answer(states: dict[str, Polarity], answer: str) -> None:
    assert gold_answer(states) == answer


def test_no_trace_without_an_answer() -> None:
    # A disease that has no label: something is there, but nothing that can be answered.
    with pytest.raises(TraceError, match="no answer follows"):
        write_trace(Facts({NO_FINDING: "absent", "Fracture": "absent"}), 0)


@pytest.mark.parametrize(
    ("box", "side", "zone"),
    [
        ((0.15, 0.15, 0.1, 0.1), "right", "upper"),
        ((0.70, 0.42, 0.1, 0.1), "left", "mid"),
        ((0.60, 0.65, 0.2, 0.1), "left", "lower"),
        ((0.10, 0.15, 0.2, 0.7), "right", "diffuse"),
        ((0.10, 0.60, 0.8, 0.2), "bilateral", "lower"),
    ],
)
def test_boxes_place_labels(box: tuple[float, ...], side: str, zone: str) -> None:
    example = Example(
        film=None,
        patient="p",
        source="s",
        origin="o",
        labels={"Consolidation": "present", "Edema": "absent"},
        boxes=(Box("Consolidation", *box), Box("Edema", *box)),
        view="AP",
    )
    facts = facts_of_example(example)
    assert [(sign.label, sign.side, sign.zone) for sign in facts.signs] == [
        ("Consolidation", side, zone)
    ]
    assert find_statements(write_trace(facts, 0))[0].side == side


def test_a_box_around_the_heart_has_no_side() -> None:
    example = Example(
        film=None,
        patient="p",
        source="s",
        origin="o",
        labels={"Cardiomegaly": "present"},
        boxes=(Box("Cardiomegaly", 0.4, 0.4, 0.4, 0.3),),
    )
    assert facts_of_example(example).signs[0].side is None


def test_facts_of_a_report() -> None:
    facts = facts_of_report(
        "Small right pleural effusion. Possible pneumonia in the left lower lobe. Emphysema."
        " No pneumothorax."
    )
    assert facts.states == {
        NO_FINDING: "absent",
        "Pleural Effusion": "present",
        "Pneumonia": "uncertain",
        "Pneumothorax": "absent",
    }
    assert facts.signs == (
        Sign("Pleural Effusion", "present", "right"),
        Sign("Pneumonia", "uncertain", "left", "lower"),
    )
    text = write_trace(facts, 0)
    assert "emphysema" not in text.lower()
    assert_sound(text, facts.states)


def test_devices_are_named_with_their_side() -> None:
    signs = (
        Sign("Support Devices", "present", None, "mediastinum", "endotracheal tube"),
        Sign("Support Devices", "present", "left", "upper", "pacemaker"),
    )
    states = {**NORMAL, "Support Devices": "present"}
    text = write_trace(Facts(states, signs), 0)
    assert "There is an endotracheal tube and a left pacemaker." in text


def test_a_disease_without_a_label_is_not_denied() -> None:
    assert "no other finding" in write_trace(facts_of_report("Pacemaker. No effusion."), 0)
    assert "no other finding" not in write_trace(facts_of_report("Pacemaker. Emphysema."), 0)


def test_every_sentence_of_the_summary_comes_last() -> None:
    states: dict[str, Polarity] = {"Pneumonia": "present", "Pneumothorax": "uncertain"}
    reasoning = parse_trace(write_trace(Facts(states), 0), truncated=False).reasoning
    sentences = [reasoning[start:end] for start, end in split_sentences(reasoning)]
    assert sentences[-2:] == [
        "In summary, the film shows pneumonia.",
        "The uncertain part is that a pneumothorax may be present.",
    ]


def test_real_nih_labels(data_dir: Path) -> None:
    examples = load_nih_subset(data_dir / "nih_cxr14")
    num_normal = 0
    for seed, example in enumerate(examples):
        facts = facts_of_example(example)
        trace = assert_sound(write_trace(facts, seed), facts.states)
        num_normal += trace.labels == (NO_FINDING,)
    assert len(examples) == 893
    assert num_normal > 0


def test_real_reports(data_dir: Path) -> None:
    examples = load_openi(data_dir / "openi_reports/NLMCXR_ecgen-radiology_xml.tar.xz")
    num_written = 0
    for seed, example in enumerate(examples):
        facts = facts_of_report(example.report or "")
        if not gold_answer(facts.states):
            with pytest.raises(TraceError, match="no answer follows"):
                write_trace(facts, seed)
            continue
        assert_sound(write_trace(facts, seed), facts.states)
        num_written += 1
    # The others have a disease without a label, or mention nothing that has one.
    assert (len(examples), num_written) == (3927, 2907)
