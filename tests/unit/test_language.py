"""Only English sentences state findings: sentences of 26 languages, English ones, and mixtures."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.sentences import searched_once

from cxr_reason.client.finding_tracker import FindingTracker
from cxr_reason.data.releases import load_openi
from cxr_reason.reading.audit import audit_trace
from cxr_reason.reading.sections import find_alternatives
from cxr_reason.reading.trace import Issue, parse_trace
from cxr_reason.statements import find_statements
from cxr_reason.statements.language import has_other_language, judge_sentence, settle
from cxr_reason.statements.language_words import ENGLISH, HALF_OTHER, OTHER, SHARED

# Most name a finding in letters that the English rules know.
OTHERS = {
    "German": [
        "Kleiner Pneumothorax links apikal.",
        "Keinerlei Infiltrate.",
        "Tumor fraglich.",
        "Pneumothorax nicht nachweisbar.",
        "Kein Pneumothorax.",
        "KEIN PNEUMOTHORAX.",
        "Pneumothorax rechts.",
        "Kein Nachweis eines Pneumothorax.",
        "Ausschluss Pneumothorax.",
        "Infiltrate beidseits basal.",
        "Herz nicht vergrößert, keine Stauung, kein Erguss.",
        "Regelrechte Lage des ZVK, kein Pneumothorax.",
    ],
    "French": [
        "Absence d'infiltration pulmonaire.",
        "Pas de pneumothorax.",
        "Absence de consolidation.",
        "Pas d'épanchement pleural ni de pneumothorax.",
        "Silhouette cardiaque de taille normale.",
        "Aucune fracture visible.",
        "Pneumothorax gauche.",
        "Pneumothorax\u00a0: non.",
    ],
    "Spanish": [
        "Carcinoma descartado.",
        "Granuloma calcificado.",
        "Sin edema.",
        "No se observa edema.",
        "No hay edema pulmonar.",
        "Sin evidencia de tumor.",
        "No hay signos de hernia hiatal.",
        "Sin consolidaciones ni derrame pleural.",
    ],
    "Italian": [
        "Non si osserva edema.",
        "Non edema.",
        "Assenza di edema polmonare.",
        "Non segni di edema.",
        "Nessun versamento pleurico.",
        "Edema assente.",
        "Edema interstiziale.",
    ],
    "Portuguese": [
        "Sem sinais de pneumonia.",
        "Sem edema.",
        "Não há edema.",
        "Ausência de edema pulmonar.",
        "Não se observa pneumonia.",
        "Nenhuma hernia.",
    ],
    "Polish": [
        "Bez pneumothorax po prawej.",
        "Pneumothorax wykluczono.",
        "Brak cech pneumothorax.",
        "Sylwetka serca nie jest powiększona.",
    ],
    "Turkish": ["Pneumothorax yok.", "Pnömotoraks izlenmedi.", "Kalp boyutu normaldir."],
    "Chinese": ["未见pneumothorax。", "双肺清晰,未见气胸。", "右侧胸腔积液 (effusion) 未见"],
    "Japanese": [
        "気胸は認めない。",
        "Pneumothorax なし。",
        "胸水 (pleural effusion) は認めません。",
    ],
    "Korean": ["Pneumothorax 없음.", "기흉 소견 없음."],
    "Russian": ["Пневмоторакса нет.", "Pneumothorax не выявлен.", "Плевральный выпот не виден."],
    "Ukrainian": ["Pneumothorax не виявлено."],
    "Vietnamese": [
        "Không có pneumothorax.",
        "Không tràn dịch màng phổi (pleural effusion).",
        "Khong co pneumothorax.",
    ],
    "Dutch": ["Geen pneumothorax.", "Er is geen pneumothorax.", "Hart niet vergroot."],
    "Swedish": ["Ingen pneumothorax.", "Inget infiltrat eller pneumothorax."],
    "Danish": ["Ikke tegn til pneumothorax."],
    "Finnish": ["Ei pneumothorax.", "Ei todeta pneumothorax."],
    "Czech": ["Bez pneumothorax.", "Pneumothorax není přítomen."],
    "Croatian": ["Nema pneumothorax."],
    "Hungarian": ["Pneumothorax nincs.", "Pneumothorax nem látható."],
    "Romanian": ["Fără pneumothorax.", "Nu este pneumothorax."],
    "Indonesian": ["Tidak tampak pneumothorax."],
    "Greek": ["Δεν υπάρχει pneumothorax."],
    "Arabic": ["لا يوجد pneumothorax."],
    "Hindi": ["कोई pneumothorax नहीं।"],
    "Thai": ["ไม่พบ pneumothorax"],
    # No list has it: six words, none of them English.
    "Swahili": ["Hakuna dalili yoyote inayoonyesha pneumothorax mapafuni."],
}
SENTENCES = [(name, text) for name, texts in OTHERS.items() for text in texts]

# What nothing tells is English where no other sentence says otherwise.
ENGLISH_SENTENCES = [
    "Clear lungs.",
    "Cardiomegaly.",
    "Pneumothorax.",
    "No pneumothorax.",
    "Possible edema.",
    "NO PNEUMOTHORAX.",
    "No focal consolidation, no pneumothorax.",
    "Normal.",
    "AP chest.",
    "ET tube in place.",
    "LA enlargement.",
    "Non displaced rib fracture.",
    "Non-specific opacity.",
    "Köhler's sign is seen.",
    "\N{GREEK SMALL LETTER ALPHA}-1 antitrypsin deficiency with emphysema.",
    "A nodule of 5 µm.",
    "Status post CABG; de novo effusion.",
    "Granuloma, XXXX XXXX XXXX XXXX XXXX.",
    "The ﬁlm shows a left pleural effusion.",
    "Stable bilateral apical pleural capping.",
]


def test_there_are_enough_sentences() -> None:
    assert len(OTHERS) >= 10
    assert len(SENTENCES) >= 60


@pytest.mark.parametrize(("name", "text"), SENTENCES, ids=[text for _, text in SENTENCES])
def test_a_sentence_of_another_language_states_nothing(name: str, text: str) -> None:
    assert judge_sentence(text) == "other"
    assert find_statements(text) == ()
    assert has_other_language(text)


@pytest.mark.parametrize("text", ENGLISH_SENTENCES)
def test_english_is_english(text: str) -> None:
    assert judge_sentence(text) != "other"
    assert not has_other_language(text)


@pytest.mark.parametrize("text", ["Cardiomegaly.", "Pneumothorax.", "NO PNEUMOTHORAX."])
def test_a_word_alone_still_states(text: str) -> None:
    assert len(find_statements(text)) == 1


def test_a_word_is_in_one_list() -> None:
    lists = [ENGLISH, SHARED, OTHER, HALF_OTHER]
    assert len(frozenset().union(*lists)) == sum(map(len, lists))


def test_a_sentence_that_tells_nothing_is_as_its_neighbours() -> None:
    assert settle(["open", "other", "open", "english", "open"]) == [
        "other",
        "other",
        "other",
        "english",
        "english",
    ]
    assert settle(["open", "open"]) == ["open", "open"]
    assert settle([]) == []


# Reasoning, and the findings that its English sentences state.
MIXED = [
    (
        "Kein Erguss. There is a right pneumothorax. The heart is large.",
        {"Pneumothorax", "Cardiomegaly"},
    ),
    (
        "The heart is large. Kein Pneumothorax. The lungs are clear.",
        {"Cardiomegaly", "Lung Opacity"},
    ),
    ("Pneumothorax. Kein Erguss.", set()),
    ("Der Befund ist normal. Pneumothorax.", set()),
    ("双肺清晰。未见pneumothorax。There is an effusion.", {"Pleural Effusion"}),
    ("Das Herz ist groß. Edema.\nThere is a pneumothorax. Edema.", {"Pneumothorax", "Edema"}),
    ("Edema. Pneumothorax.", {"Edema", "Pneumothorax"}),
]


@pytest.mark.parametrize(("text", "expected"), MIXED)
def test_a_mixed_reasoning_gives_what_its_english_sentences_state(
    text: str, expected: set[str]
) -> None:
    trace = parse_trace(f"<think>{text}</think><answer>Edema</answer>", truncated=False)
    assert (Issue.LANGUAGE_UNKNOWN in trace.issues) == (text != "Edema. Pneumothorax.")
    findings, _ = audit_trace(trace)
    assert {one.label for one in findings if one.evidence} == expected
    assert {one.finding for one in find_statements(trace.reasoning)} == expected


@pytest.mark.parametrize(("text", "expected"), MIXED)
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_the_stream_shows_the_same(text: str, expected: set[str], step: int) -> None:
    tracker = FindingTracker()
    events = [
        finding
        for start in range(0, len(text), step)
        for finding in tracker.feed(text[start : start + step])
    ]
    events += tracker.close()
    trace = parse_trace(f"<think>{text}</think>", truncated=False)
    last = {one.label: (one.status, one.evidence[0]) for one in events}
    findings, _ = audit_trace(trace)
    assert last == {one.label: (one.status, one.evidence[0]) for one in findings}
    assert set(last) == expected


def test_any_mixture_gives_the_same_in_the_stream_and_in_the_reading() -> None:
    pool = [text for _, text in SENTENCES] + 5 * ENGLISH_SENTENCES
    for _ in range(200):
        text = " ".join(random.choices(pool, k=random.randint(1, 8)))
        tracker = FindingTracker()
        events = [finding for letter in text for finding in tracker.feed(letter)] + tracker.close()
        findings, _ = audit_trace(parse_trace(f"<think>{text}</think>", truncated=False))
        assert {one.label: (one.status, one.evidence[0]) for one in events} == {
            one.label: (one.status, one.evidence[0]) for one in findings
        }, text


@pytest.mark.parametrize(("name", "text"), SENTENCES, ids=[text for _, text in SENTENCES])
def test_no_event_comes_from_another_language(name: str, text: str) -> None:
    tracker = FindingTracker()
    assert not [finding for letter in text for finding in tracker.feed(letter)]
    assert not tracker.close()


def test_a_reading_of_another_language_keeps_its_answer() -> None:
    text = "<think>Kein Pneumothorax. Mögliche Pneumonia oder Edema.</think><answer>Edema</answer>"
    trace = parse_trace(text, truncated=False)
    findings, contradictions = audit_trace(trace)
    assert [(one.label, one.evidence) for one in findings] == [("Edema", ())]
    assert contradictions == ()
    assert find_alternatives(trace.reasoning) == ()


def test_real_reports_are_english(data_dir: Path) -> None:
    with searched_once():
        examples = load_openi(data_dir / "openi_reports/NLMCXR_ecgen-radiology_xml.tar.xz")
    # Measured: none of 3,927 reports with 19,700 different sentences.
    assert not [one.origin for one in examples if has_other_language(one.report or "")]
