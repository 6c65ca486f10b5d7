"""The statement labeller on sentences of our own; test_labeller.py has those of other people."""

from __future__ import annotations

import importlib
import pkgutil
import random
import re

import pytest

from cxr_reason import statements
from cxr_reason.findings import LABELS
from cxr_reason.statements import (
    FINDINGS,
    NIH_LABELS,
    TO_CHEXPERT,
    TO_NIH,
    Statement,
    assess,
    find_statements,
    label_report,
)
from cxr_reason.statements.finding_rules import RULES
from cxr_reason.statements.patterns import compile_rule, is_unbounded, rule_source
from cxr_reason.statements.places import REGIONS
from cxr_reason.statements.sentences import split_sentences

PRESENT, ABSENT, UNCERTAIN = "present", "absent", "uncertain"


def says(text: str) -> dict[str, str]:
    """Return the polarity of each finding in a text; the last statement of a finding counts."""
    return {one.finding: one.polarity for one in find_statements(text)}


def only(text: str) -> Statement:
    (statement,) = find_statements(text)
    return statement


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # negation before
        ("There is no pleural effusion.", {"Pleural Effusion": ABSENT}),
        ("The film is without a pneumothorax.", {"Pneumothorax": ABSENT}),
        ("No evidence of pneumonia.", {"Pneumonia": ABSENT}),
        ("Both lungs are free of infiltrates.", {"Infiltration": ABSENT}),
        ("Negative for fracture.", {"Fracture": ABSENT}),
        ("Absence of edema.", {"Edema": ABSENT}),
        ("Interval resolution of the edema.", {"Edema": ABSENT}),
        ("No suspicious nodule.", {"Nodule": ABSENT}),
        ("No findings suggestive of pneumonia.", {"Pneumonia": ABSENT}),
        ("Nothing suggests pneumonia.", {"Pneumonia": ABSENT}),
        (
            "I would call it atelectasis rather than consolidation.",
            {"Atelectasis": PRESENT, "Consolidation": ABSENT},
        ),
        # negation after
        ("Pneumothorax is not seen.", {"Pneumothorax": ABSENT}),
        ("The effusion has resolved.", {"Pleural Effusion": ABSENT}),
        ("Pneumonia was ruled out.", {"Pneumonia": ABSENT}),
        ("Consolidation is absent.", {"Consolidation": ABSENT}),
        ("Pneumothorax: none.", {"Pneumothorax": ABSENT}),
        ("The nodule is no longer visible.", {"Nodule": ABSENT}),
        ("Pneumonia is unlikely.", {"Pneumonia": ABSENT}),
        # the heart and the mediastinum
        ("The heart is enlarged.", {"Cardiomegaly": PRESENT}),
        ("The heart is not enlarged.", {"Cardiomegaly": ABSENT}),
        ("Cardiac silhouette within normal limits.", {"Cardiomegaly": ABSENT}),
        ("Heart size is at the upper limits of normal.", {"Cardiomegaly": ABSENT}),
        ("Borderline heart size.", {"Cardiomegaly": UNCERTAIN}),
        ("The mediastinum is widened.", {"Enlarged Cardiomediastinum": PRESENT}),
        (
            "Heart and mediastinum are normal.",
            {"Cardiomegaly": ABSENT, "Enlarged Cardiomediastinum": ABSENT},
        ),
        (
            "The heart is normal and the aorta is enlarged.",
            {"Cardiomegaly": ABSENT, "Other Abnormality": PRESENT},
        ),
        (
            "The heart is enlarged, the mediastinum is normal.",
            {"Cardiomegaly": PRESENT, "Enlarged Cardiomediastinum": ABSENT},
        ),
        # hedges: possible and less is open, probable and more is a commitment
        ("Possible left effusion.", {"Pleural Effusion": UNCERTAIN}),
        ("Pneumonia cannot be excluded.", {"Pneumonia": UNCERTAIN}),
        ("Pneumonia is not excluded.", {"Pneumonia": UNCERTAIN}),
        ("Cannot exclude a small pneumothorax.", {"Pneumothorax": UNCERTAIN}),
        ("Small effusion is difficult to exclude.", {"Pleural Effusion": UNCERTAIN}),
        ("Without a lateral view, effusion is hard to exclude.", {"Pleural Effusion": UNCERTAIN}),
        ("Questionable nodule.", {"Nodule": UNCERTAIN}),
        ("Question of pneumonia.", {"Pneumonia": UNCERTAIN}),
        ("Findings suggestive of edema.", {"Edema": UNCERTAIN}),
        ("Concern for pneumonia.", {"Pneumonia": UNCERTAIN}),
        ("CT is advised to exclude a mass.", {"Mass": UNCERTAIN}),
        (
            "Atelectasis versus consolidation.",
            {"Atelectasis": UNCERTAIN, "Consolidation": UNCERTAIN},
        ),
        ("Probable atelectasis.", {"Atelectasis": PRESENT}),
        ("This is most consistent with pneumonia.", {"Pneumonia": PRESENT}),
        (
            "The opacity may represent atelectasis, infiltrate or pneumonia.",
            {
                "Lung Opacity": PRESENT,
                "Atelectasis": UNCERTAIN,
                "Infiltration": UNCERTAIN,
                "Pneumonia": UNCERTAIN,
            },
        ),
        (
            "Opacity which may be due to edema.",
            {"Lung Opacity": PRESENT, "Edema": UNCERTAIN},
        ),
        ("The costophrenic angle is blunted.", {"Pleural Effusion": UNCERTAIN}),
        ("Volume loss on the right.", {"Atelectasis": UNCERTAIN}),
        ("Pneumonia is less likely.", {"Pneumonia": UNCERTAIN}),
        ("Alternatives considered: pneumonia.", {"Pneumonia": UNCERTAIN}),
        # lists
        (
            "No effusion, pneumothorax or consolidation.",
            {"Pleural Effusion": ABSENT, "Pneumothorax": ABSENT, "Consolidation": ABSENT},
        ),
        (
            "Effusion, edema, and pneumothorax are not seen.",
            {"Pleural Effusion": ABSENT, "Edema": ABSENT, "Pneumothorax": ABSENT},
        ),
        (
            "Possibly atelectasis, fibrosis, or pneumonia.",
            {"Atelectasis": UNCERTAIN, "Fibrosis": UNCERTAIN, "Pneumonia": UNCERTAIN},
        ),
        (
            "Possible effusion, cardiomegaly.",
            {"Pleural Effusion": UNCERTAIN, "Cardiomegaly": PRESENT},
        ),
        # forms with a heading for each organ
        (
            "Lungs: clear. Pleura: no effusion. Heart: enlarged.",
            {"Lung Opacity": ABSENT, "Pleural Effusion": ABSENT, "Cardiomegaly": PRESENT},
        ),
        # where a scope ends
        (
            "No effusion, but there is cardiomegaly.",
            {"Pleural Effusion": ABSENT, "Cardiomegaly": PRESENT},
        ),
        (
            "No pneumothorax; small effusion.",
            {"Pneumothorax": ABSENT, "Pleural Effusion": PRESENT},
        ),
        (
            "No pneumothorax however edema persists.",
            {"Pneumothorax": ABSENT, "Edema": PRESENT},
        ),
        (
            "There is no pneumothorax and the heart is enlarged.",
            {"Pneumothorax": ABSENT, "Cardiomegaly": PRESENT},
        ),
        (
            "No pneumothorax is seen, cardiomegaly is present.",
            {"Pneumothorax": ABSENT, "Cardiomegaly": PRESENT},
        ),
        (
            "Small effusion, pneumothorax is not seen.",
            {"Pleural Effusion": PRESENT, "Pneumothorax": ABSENT},
        ),
        (
            "No effusion, stable cardiomegaly.",
            {"Pleural Effusion": ABSENT, "Cardiomegaly": PRESENT},
        ),
        # words of negation that do not deny the finding
        ("No change in the effusion.", {"Pleural Effusion": PRESENT}),
        ("No significant interval change in the edema.", {"Edema": PRESENT}),
        ("No increase in the pneumothorax.", {"Pneumothorax": PRESENT}),
        ("The effusion has not changed.", {"Pleural Effusion": PRESENT}),
        (
            "Not only atelectasis but also pneumonia.",
            {"Atelectasis": PRESENT, "Pneumonia": PRESENT},
        ),
        ("No emphysematous changes.", {"Emphysema": ABSENT}),
        # names inside other names
        ("A nodular opacity.", {"Nodular Opacity": PRESENT}),
        ("Subcutaneous emphysema.", {"Other Abnormality": PRESENT}),
        ("Pericardial effusion.", {"Other Abnormality": PRESENT}),
        ("Massive cardiomegaly.", {"Cardiomegaly": PRESENT}),
        ("Prior granulomatous infection.", {"Other Abnormality": PRESENT}),
        # nothing is stated
        ("We check for pneumothorax.", {}),
        ("Is there a pneumothorax?", {}),
        ("Please correlate clinically for pneumonia.", {}),
        ("History of pneumonia.", {}),
        ("", {}),
    ],
)
def test_polarity(text: str, expected: dict[str, str]) -> None:
    assert says(text) == expected


TRACE = """We begin with the devices: an endotracheal tube is in good position.
We look at the costophrenic angles; both are sharp, so there is no effusion.
Let us look for pneumothorax. I do not see a pleural line, so pneumothorax is unlikely.
In the left lower zone we see a patchy opacity that could represent pneumonia or atelectasis.
The cardiac silhouette appears mildly enlarged.
In summary, there is cardiomegaly and a left basilar opacity, possibly pneumonia."""


def test_reasoning_trace() -> None:
    assert label_report(TRACE, "chexpert") == {
        "Atelectasis": UNCERTAIN,
        "Cardiomegaly": PRESENT,
        "Lung Opacity": PRESENT,
        "No Finding": ABSENT,
        "Pleural Effusion": ABSENT,
        "Pneumonia": UNCERTAIN,
        "Pneumothorax": ABSENT,
        "Support Devices": PRESENT,
    }


@pytest.mark.parametrize(
    ("text", "side", "region"),
    [
        ("Small left apical pneumothorax.", "left", "apex"),
        ("Opacity in the right upper lobe.", "right", "upper zone"),
        ("In the right base, there is an opacity.", "right", "base"),
        ("There is a consolidation in the left lower zone.", "left", "lower zone"),
        ("Bilateral effusions.", "bilateral", None),
        ("Effusions, right greater than left.", "bilateral", None),
        ("Bibasilar atelectasis.", "bilateral", "base"),
        ("A retrocardiac opacity.", "left", "retrocardiac"),
        ("Right hilar mass.", "right", "hilum"),
        ("Lingular consolidation.", "left", "middle zone"),
        ("Blunting of the left costophrenic angle.", "left", "costophrenic angle"),
        ("Healed rib fracture on the right.", "right", "ribs"),
        ("Pneumothorax.", None, None),
        ("Cardiomegaly; the left lung is small.", None, None),
    ],
)
def test_side_and_region(text: str, side: str | None, region: str | None) -> None:
    statement = find_statements(text)[0]
    assert (statement.side, statement.region) == (side, region)
    assert region is None or region in REGIONS


def test_each_finding_takes_its_own_side() -> None:
    effusion, opacity = find_statements("Small right effusion and left apical opacity.")
    assert (effusion.side, opacity.side, opacity.region) == ("right", "left", "apex")


REPORT = """INDICATION: Rule out pneumonia.
COMPARISON: Effusion on the film of last year.

FINDINGS: The lungs are clear, vs. the prior film.
Dr. XXXX saw 1.5 cm of scarring.There is no effusion
and no pneumothorax.

IMPRESSION:
1. No acute cardiopulmonary process.
2. Old left rib fracture.
"""


def test_sections_and_sentences() -> None:
    found = find_statements(REPORT)
    assert [(one.finding, one.polarity) for one in found] == [
        ("Lung Opacity", ABSENT),
        ("Lung Opacity", PRESENT),
        ("Pleural Effusion", ABSENT),
        ("Pneumothorax", ABSENT),
        ("No Finding", PRESENT),
        ("Fracture", PRESENT),
    ]
    sentences = [REPORT[one.sentence_start : one.sentence_end] for one in found]
    assert sentences[1] == "Dr. XXXX saw 1.5 cm of scarring."
    assert sentences[2] == "There is no effusion\nand no pneumothorax."
    assert sentences[5] == "2. Old left rib fracture."


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("1. One.\n2. Two.", ["1. One.", "2. Two."]),
        ("- one\n- two", ["- one", "- two"]),
        ("Short line\nNext line", ["Short line", "Next line"]),
        (f"{'A long line ' * 6}of the\nRight lung.", [f"{'A long line ' * 6}of the\nRight lung."]),
        ("One\n\nTwo", ["One", "Two"]),
        ("Dilated, e.g. 4.5 cm vs. 4 cm.", ["Dilated, e.g. 4.5 cm vs. 4 cm."]),
        ("XXXX. Clear.", ["XXXX.", "Clear."]),
        (" \n ", []),
    ],
)
def test_split_sentences(text: str, sentences: list[str]) -> None:
    assert [text[start:end] for start, end in split_sentences(text)] == sentences


def test_spans_give_back_the_words() -> None:
    text = "The lungs are clear. The heart is mildly enlarged and there is a small effusion."
    words = [text[one.start : one.end] for one in find_statements(text)]
    assert words == ["lungs are clear", "heart is mildly enlarged", "effusion"]


@pytest.mark.parametrize(
    ("text", "chexpert", "nih"),
    [
        ("Effusion on the left. No effusion on the right.", {"Pleural Effusion": PRESENT}, None),
        ("A mass.", {"Lung Lesion": PRESENT}, {"Mass": PRESENT}),
        ("Pleural thickening.", {"Pleural Other": PRESENT}, {"Pleural_Thickening": PRESENT}),
        ("Infiltrate.", {"Lung Opacity": PRESENT}, {"Infiltration": PRESENT}),
        ("Hiatal hernia.", {}, {"Hernia": PRESENT}),
        ("Congestive heart failure.", {"Edema": PRESENT}, {}),
    ],
)
def test_label_sets(text: str, chexpert: dict[str, str], nih: dict[str, str] | None) -> None:
    found = label_report(text, "chexpert")
    assert {**found, "No Finding": ABSENT} == {**chexpert, "No Finding": ABSENT}
    if nih is not None:
        found = label_report(text, "nih")
        assert {name: value for name, value in found.items() if name != "No Finding"} == nih


@pytest.mark.parametrize(
    ("text", "chexpert", "nih"),
    [
        ("Normal chest.", PRESENT, PRESENT),
        ("No effusion.", PRESENT, PRESENT),
        ("Possible effusion.", UNCERTAIN, UNCERTAIN),
        ("Effusion. No acute cardiopulmonary process.", ABSENT, ABSENT),
        # Devices are no finding in CheXpert, and scoliosis or a fracture are no NIH label.
        ("Pacemaker. Lungs are clear.", PRESENT, PRESENT),
        ("Scoliosis. Lungs are clear.", ABSENT, PRESENT),
        ("Rib fracture.", ABSENT, PRESENT),
        ("Calcified granuloma.", ABSENT, PRESENT),
        ("The film was taken at noon.", None, None),
    ],
)
def test_no_finding(text: str, chexpert: str | None, nih: str | None) -> None:
    assert label_report(text, "chexpert").get("No Finding") == chexpert
    assert label_report(text, "nih").get("No Finding") == nih


def test_vocabulary_is_closed() -> None:
    assert {rule.finding for rule in RULES} <= set(FINDINGS)
    assert set(TO_CHEXPERT.values()) == set(LABELS)
    assert set(TO_NIH.values()) == set(NIH_LABELS)
    assert {*TO_CHEXPERT, *TO_NIH} - {"Effusion", "Pleural_Thickening"} < set(FINDINGS)


@pytest.mark.parametrize(
    ("sentence", "condition", "expected"),
    [
        ("The patient denies CHEST   PAIN.", "chest pain", "negated"),
        ("No fever, chills or night sweats.", "night sweats", "negated"),
        ("He has fever but no chills.", "fever", "affirmed"),
        ("Myocardial infarction was ruled out.", "myocardial infarction", "negated"),
        ("Sepsis could not be excluded.", "sepsis", "possible"),
        ("He was evaluated for stroke.", "stroke", "affirmed"),
        ("No ischemic changes.", "ischemic changes", "negated"),
        ("Nothing of the kind.", "asthma", "affirmed"),
        ("", "", "affirmed"),
    ],
)
def test_assess(sentence: str, condition: str, expected: str) -> None:
    assert assess(sentence, condition) == expected


def patterns() -> dict[str, str]:
    """Return every expression that meets a text, by module and name."""
    found = {f"rule {i}": rule.pattern.pattern for i, rule in enumerate(RULES)}
    for info in pkgutil.iter_modules(statements.__path__):
        module = importlib.import_module(f"{statements.__name__}.{info.name}")
        if info.name == "patterns":  # it meets rules, not texts
            continue
        for name, value in vars(module).items():
            values = value.values() if isinstance(value, dict) else [value]
            for one in values:
                if isinstance(one, re.Pattern):
                    found[f"{info.name}.{name} {one.pattern[:20]}"] = one.pattern
    return found


def test_no_expression_repeats_without_a_bound() -> None:
    """So one attempt costs a constant, and no text makes matching explode."""
    found = patterns()
    assert len(found) > len(RULES)
    assert not {name for name, source in found.items() if is_unbounded(source)}


@pytest.mark.parametrize("source", ["a+", "(?:a|b)*", "a{2,}", r"[\s]+x"])
def test_rules_refuse_unbounded_repetition(source: str) -> None:
    with pytest.raises(ValueError, match="unbounded repetition"):
        rule_source([source])


def test_rules_match_whole_words_over_any_white_space() -> None:
    rule = compile_rule("air ?space disease")
    assert rule.search("Air-space\n  disease") and rule.search("airspace disease")
    assert not rule.search("airspace diseases") and not rule.search("fairspace disease")


@pytest.mark.parametrize(
    "piece",
    [
        "no ",
        "heart ",
        "no evidence of ",
        "a",
        " ",
        "\n",
        ".",
        "effusion ",
        "not ex",
        "1.",
        ", and the ",
    ],
    ids=repr,
)
def test_long_hostile_text(piece: str) -> None:
    text = piece * (32_768 // len(piece))
    assert {one.finding for one in find_statements(text)} <= {"Pleural Effusion", "Cardiomegaly"}
    assert assess(text, "effusion") == "affirmed"


WORDS = [
    *("effusion", "heart", "enlarged", "left", "normal", "opacity", "XXXX", "\n", "\n\n", ".", "?"),
    *(
        ",",
        ";",
        ":",
        "FINDINGS:",
        "INDICATION:",
        "1.",
        "é",
        "\u2028",
        "\x00",
        "<think>",
        "no",
        "is",
    ),
    *("not", "may represent", "cannot be excluded", "versus", "and", "or", "lungs are clear", "("),
]


@pytest.mark.parametrize("seed", range(60))
def test_any_text_is_safe(seed: int) -> None:
    dice = random.Random(seed)
    text = dice.choice([" ", ""]).join(dice.choices(WORDS, k=dice.randrange(200)))
    found = find_statements(text)
    assert found == find_statements(text)
    for one in found:
        assert 0 <= one.sentence_start <= one.start < one.end <= one.sentence_end <= len(text)
        assert one.finding in FINDINGS
        assert one.polarity in (PRESENT, ABSENT, UNCERTAIN)
    assert [one.start for one in found] == sorted(one.start for one in found)
    label_report(text, "chexpert")
    assess(text, dice.choice(WORDS))
