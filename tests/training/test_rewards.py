"""Rewards: exact values, and the known loopholes, closed or still open."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cxr_reason.errors import BadRequestError
from cxr_reason.training.rewards import (
    BATCH_REWARDS,
    ORIGINAL_WEIGHTS,
    SUCCESSOR_WEIGHTS,
    accuracy_reward,
    accuracy_reward_hard,
    consistency_reward,
    f1_reward_hard,
    length_band_penalty,
    original_reward,
    overshort_penalty,
    structure_reward,
    successor_reward,
)

REASONING = """This is a frontal film of good quality.
There are no support devices.
The trachea is in the midline.
The lungs are clear on both sides.
There is a small left pleural effusion. No pneumothorax is seen.
The mediastinum is of normal width.
The hila are of normal size.
The heart is of normal size.
The upper abdomen is unremarkable.
The bones are intact without fracture.
In summary, a small left pleural effusion."""


def output(answer: str, reasoning: str = "The film is read.") -> str:
    return f"<think> {reasoning} </think>\n<answer> {answer} </answer>"


EFFUSION = output("Pleural Effusion", REASONING)

# text, gold → original's accuracy, the same if the form is strict, successor's F1
CASES = {
    # Right, partly right, wrong.
    "exact": (output("Edema"), "Edema", 1.0, 1.0, 1.0),
    "one of two": (output("Edema"), "Edema, Pneumonia", 1 / 2, 1 / 2, 2 / 3),
    "one too many": (output("Edema, Fracture, Pneumonia"), "Edema", 1 / 3, 1 / 3, 1 / 2),
    "disjoint": (output("Edema"), "Fracture", 0.0, 0.0, 0.0),
    "normal": (output("No Finding"), "No Finding", 1.0, 1.0, 1.0),
    # Open in the original: names outside the fourteen cost nothing. The successor counts them.
    "unknown label": (output("Edema, Sarcoidosis"), "Edema", 1.0, 1.0, 2 / 3),
    "misspelt label": (output("Edema, Pnuemonia"), "Edema", 1.0, 1.0, 2 / 3),
    "full stop is misspelt": (output("Edema."), "Edema", 0.0, 0.0, 0.0),
    "all unknown": (output("Shadow, Haze"), "Edema", 0.0, 0.0, 0.0),
    # Open in the original: hedging with No Finding is only one label too many.
    "No Finding beside a finding": (output("No Finding, Edema"), "Edema", 1 / 2, 1 / 2, 0.0),
    "a finding beside No Finding": (output("No Finding, Edema"), "No Finding", 1 / 2, 1 / 2, 0.0),
    "unknown beside No Finding": (output("No Finding, Haze"), "No Finding", 1.0, 1.0, 0.0),
    # Empty answers: in the successor they mean No Finding.
    "empty answer, normal film": (output(""), "No Finding", 0.0, 0.0, 1.0),
    "empty answer, finding": (output(""), "Edema", 0.0, 0.0, 0.0),
    "only commas": (output(" , ,"), "No Finding", 0.0, 0.0, 1.0),
    "empty text": ("", "No Finding", 0.0, 0.0, 0.0),
    # Sets: case, white space and repetition do not matter, line breaks do not separate.
    "case": (output("eDEMA, PNEUMONIA"), "Edema, Pneumonia", 1.0, 1.0, 1.0),
    "white space": (output("\n\tEdema ,Pneumonia\n"), "Edema,  Pneumonia ", 1.0, 1.0, 1.0),
    "repeated": (output("Edema, Edema"), "Edema", 1.0, 1.0, 1.0),
    "inner spaces": (output("Pleural  Effusion"), "Pleural Effusion", 0.0, 0.0, 0.0),
    "line break": (output("Edema\nFracture"), "Edema, Fracture", 0.0, 0.0, 0.0),
    # Form. The successor wants one answer block only; `structure_reward` sees the rest.
    "no line break between": ("<think>a</think><answer>Edema</answer>", "Edema", 1.0, 1.0, 1.0),
    "empty think": ("<think></think><answer>Edema</answer>", "Edema", 1.0, 1.0, 1.0),
    "trailing line break": (output("Edema") + "\n", "Edema", 1.0, 1.0, 1.0),  # `$` allows one
    "two trailing line breaks": (output("Edema") + "\n\n", "Edema", 1.0, 0.0, 1.0),
    "leading space": (" " + output("Edema"), "Edema", 1.0, 0.0, 1.0),
    "text before": ("Well: " + output("Edema"), "Edema", 1.0, 0.0, 1.0),
    "text after": (output("Edema") + " Done.", "Edema", 1.0, 0.0, 1.0),
    "text between": ("<think>a</think> so <answer>Edema</answer>", "Edema", 1.0, 0.0, 1.0),
    "no think": ("<answer>Edema</answer>", "Edema", 1.0, 0.0, 1.0),
    "no answer": ("<think>Edema</think> Edema", "Edema", 0.0, 0.0, 0.0),
    "cut off": ("<think>a</think><answer>Edema", "Edema", 0.0, 0.0, 0.0),
    "upper-case tags": ("<THINK>a</THINK><ANSWER>Edema</ANSWER>", "Edema", 0.0, 0.0, 0.0),
    "answer before think": ("<answer>Edema</answer><think>a</think>", "Edema", 1.0, 0.0, 1.0),
    "closed before opened": ("<think>a</think></answer>Edema<answer>", "Edema", 0.0, 0.0, 0.0),
    # Doubled tags: the first answer counts, so a second try would be free without the tag count.
    "doubled think": ("<think>a</think>" + output("Edema"), "Edema", 1.0, 0.0, 1.0),
    "doubled answer": (output("Edema") + "<answer>Fracture</answer>", "Edema", 1.0, 0.0, 0.0),
    "all answers in turn": (output("Fracture") + output("Edema"), "Edema", 0.0, 0.0, 0.0),
    "nested think": ("<think><think>a</think></think><answer>Edema</answer>", "Edema", 1, 0.0, 1.0),
    "nested answer": ("<think>a</think><answer><answer>Edema</answer></answer>", "Edema", 0, 0, 0),
    "answer inside think": ("<think><answer>Edema</answer></think>", "Edema", 1.0, 0.0, 1.0),
}


@pytest.mark.parametrize(("text", "gold", "accuracy", "hard", "f1"), CASES.values(), ids=[*CASES])
def test_accuracy(text: str, gold: str, accuracy: float, hard: float, f1: float) -> None:
    assert accuracy_reward(text, gold) == accuracy
    assert accuracy_reward_hard(text, gold) == hard
    assert f1_reward_hard(text, gold) == f1


def test_original_drops_unknown_gold_labels_too() -> None:
    assert accuracy_reward(output("Haze"), "") == 1.0
    assert accuracy_reward(output("Haze"), "Shadow") == 1.0
    assert accuracy_reward(output("Edema"), "Shadow, Edema") == 1.0


@pytest.mark.parametrize("gold", ["", " , ", "Edema, Haze", "No Finding, Edema"])
def test_successor_refuses_bad_gold_labels(gold: str) -> None:
    with pytest.raises(BadRequestError, match="gold labels"):
        f1_reward_hard(output("Edema"), gold)


@pytest.mark.parametrize(
    ("num_tokens", "overshort", "band"),
    [
        (0, -1.0, -1.0),
        (1, -399 / 400, -179 / 180),
        (90, -310 / 400, -0.5),
        (179, -221 / 400, -1 / 180),
        (180, -0.55, 0.0),
        (200, -0.5, 0.0),
        (399, -1 / 400, 0.0),
        (400, 0.0, 0.0),
        (900, 0.0, 0.0),
        # Open in the original: rambling is free.
        (901, 0.0, -1 / 300),
        (1050, 0.0, -0.5),
        (1200, 0.0, -1.0),
        (100_000, 0.0, -1.0),
    ],
)
def test_length(num_tokens: int, overshort: float, band: float) -> None:
    assert overshort_penalty(num_tokens) == overshort
    assert length_band_penalty(num_tokens) == band


def test_totals() -> None:
    assert original_reward(EFFUSION, "Pleural Effusion", 400) == 1.0
    assert original_reward(EFFUSION, "Pleural Effusion", 200) == 0.5
    assert original_reward("", "Edema", 0) == -1.0
    assert successor_reward(EFFUSION, "Pleural Effusion", 400) == 2.5
    assert successor_reward(EFFUSION, "Pleural Effusion", 90) == 2.0
    assert successor_reward(EFFUSION, "Edema, Pleural Effusion", 1050) == pytest.approx(
        2.0 * 2 / 3 + 0.5 - 0.5
    )
    assert successor_reward("", "Edema", 0) == -1.0


def without(line: int) -> str:
    lines = REASONING.splitlines()
    return "\n".join(lines[:line] + lines[line + 1 :])


def swapped() -> str:
    lines = REASONING.splitlines()
    lines[1], lines[7] = lines[7], lines[1]
    return "\n".join(lines)


WORD_LIST = "film devices trachea lungs pleura mediastinum hila heart abdomen bones summary"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (EFFUSION, 1.0),
        ("", 0.0),
        ("Edema", 0.0),
        (REASONING, 0.0),  # outside of the tags there are no sections
        ("<answer>Edema</answer>", 0.15 / 2),
        (output("Edema", ""), 0.15),
        # The first is the title of a section with three words.
        (output("Edema", "Lungs are clear."), 0.15 + 0.55 / 10),
        (output("Edema", "The lungs are clear."), 0.15 + 0.55 / 10 + 0.20 / 11),
        # A sentence without a section's word belongs to the section before.
        (output("Edema", "Lungs. They are clear today."), 0.15 + 0.55 / 10 + 0.20 / 11),
        (output("Edema", without(7)), 0.15 + 0.55 * 9 / 10 + 0.20 * 10 / 11 + 0.10),
        (output("Edema", without(10)), 0.15 + 0.55 + 0.20 * 10 / 11),
        (output("Edema", swapped()), 0.15 + 0.55 * 0.8 + 0.20 + 0.10),
        # A summary comes last, after something to sum up.
        (output("Edema", "In summary, a normal film. The lungs are clear."), 0.205 + 0.40 / 11),
        (output("Edema", "In summary, all is normal."), 0.15 + 0.20 / 11),
        # A list of the words in one sentence is one section; with stops, bare headings.
        (output("Edema", WORD_LIST), 0.15 + 0.55 / 10 + 0.20 / 11),
        (output("Edema", WORD_LIST.replace(" ", ". ")), 0.15 + 0.55 + 0.10),
        # Repetition earns nothing.
        (output("Edema", "The lungs are clear. " * 50), 0.15 + 0.55 / 10 + 0.20 / 11),
        # Tags: two of them doubled; in the wrong order; without an end.
        ("<think></think>" + EFFUSION, 0.15 / 2 + 0.85),
        (EFFUSION + "<answer></answer>", 0.15 / 2 + 0.85),
        ("<answer></answer><think></think>", 0.15 * 0.8),
        ("<think>", 0.15 / 4),
    ],
)
def test_structure(text: str, expected: float) -> None:
    assert structure_reward(text) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("reasoning", "answer", "expected"),
    [
        (REASONING, "Pleural Effusion", 1.0),
        # Open in both others: nothing ties the thinking to the answer.
        ("The lungs are clear.", "Pleural Effusion", 0.0),
        ("", "Pleural Effusion", 0.0),
        ("", "No Finding", 0.0),
        # Denied: no support, and a contradiction that costs what another label earned.
        ("No effusion.", "Pleural Effusion", 0.0),
        ("No effusion. There is a fracture.", "Pleural Effusion, Fracture", 0.0),
        ("There is a fracture.", "Pleural Effusion, Fracture", 0.5),
        # Stated and left out.
        ("There is an effusion and a fracture.", "Fracture", 0.0),
        ("There are an effusion, edema and a fracture.", "Fracture, Edema", 0.5),
        # Uncertain: half, and free to leave out.
        ("There may be a pneumothorax.", "Pneumothorax", 0.5),
        ("There may be a pneumothorax. There is a fracture.", "Fracture", 1.0),
        # The hierarchy: a child supports its parents, not the other way round.
        ("There is pneumonia.", "Lung Opacity, Consolidation, Pneumonia", 1.0),
        ("There is pneumonia.", "Lung Opacity", 0.0),  # and it is left out
        ("There is an opacity.", "Pneumonia", 0.0),
        # No Finding follows from denials, not from silence.
        ("The lungs are clear. No pneumothorax.", "No Finding", 1.0),
        ("There may be a pneumothorax.", "No Finding", 0.5),
        ("There is a pneumothorax.", "No Finding", 0.0),
        ("A pacemaker is in place. The lungs are clear.", "No Finding", 0.0),
        # Answers that cannot be supported.
        ("There is an effusion.", "Pleural Effusion, Haze", 0.5),
        ("There is an effusion.", "Haze", 0.0),
        ("The lungs are clear.", "", 0.0),
        ("There is an effusion.", "No Finding, Pleural Effusion", 0.0),
        # Open: a reasoning that contradicts itself. Present wins over absent.
        ("There is an effusion. There is no effusion.", "Pleural Effusion", 1.0),
    ],
)
def test_consistency(reasoning: str, answer: str, expected: float) -> None:
    assert consistency_reward(output(answer, reasoning)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Please provide a frontal chest X-ray image.",
        REASONING,
        EFFUSION + " Done.",
        EFFUSION + "<answer>Pleural Effusion</answer>",
        "<think>" + EFFUSION,
        "<think> There is an effusion. <answer>Pleural Effusion</answer></think>",
        EFFUSION.removesuffix("</answer>"),
    ],
)
def test_consistency_wants_the_whole_form(text: str) -> None:
    assert consistency_reward(text) == 0.0


TEXTS = [text for text, *_ in CASES.values()] + [EFFUSION, REASONING, EFFUSION * 3, "<" * 2000]
RANGES = {
    "accuracy_reward_hard": (0.0, 1.0),
    "overshort_penalty": (-1.0, 0.0),
    "f1_reward_hard": (0.0, 1.0),
    "structure_reward": (0.0, 1.0),
    "length_band_penalty": (-1.0, 0.0),
    "consistency_reward": (0.0, 1.0),
}


def batch(texts: list[str], *, as_messages: bool) -> dict[str, Any]:
    """Return what TRL passes, with columns and arguments that no reward knows."""
    messages = [[{"role": "assistant", "content": text}] for text in texts]
    return {
        "prompts": ["Find abnormalities and support devices."] * len(texts),
        "completions": messages if as_messages else texts,
        "completion_ids": [list(range(len(text))) for text in texts],
        "solution": ["Edema, Pneumonia"] * len(texts),
        "patient": ["p1"] * len(texts),
        "trainer_state": object(),
    }


@pytest.mark.parametrize("name", RANGES)
def test_batches(name: str) -> None:
    """Both forms of completions, in their range, twice the same, arguments left as they were."""
    low, high = RANGES[name]
    reward = BATCH_REWARDS[name]
    assert reward.__name__ == name
    plain, messages = batch(TEXTS, as_messages=False), batch(TEXTS, as_messages=True)
    before = copy.deepcopy((messages["completions"], messages["solution"]))
    values = reward(**plain)
    assert values == reward(**messages) == reward(**plain)
    assert before == (messages["completions"], messages["solution"])
    assert len(values) == len(TEXTS)
    assert all(type(value) is float and low <= value <= high for value in values)
    assert reward(**batch([], as_messages=True)) == []


def test_batches_are_the_single_rewards() -> None:
    arguments = batch([EFFUSION, output("Edema")], as_messages=True)
    assert BATCH_REWARDS["accuracy_reward_hard"](**arguments) == [0.0, 0.5]
    assert BATCH_REWARDS["f1_reward_hard"](**arguments) == [0.0, 2 / 3]
    assert BATCH_REWARDS["consistency_reward"](**arguments) == [1.0, 0.0]
    assert BATCH_REWARDS["overshort_penalty"](**arguments) == [
        overshort_penalty(len(EFFUSION)),
        overshort_penalty(len(output("Edema"))),
    ]


def test_batch_without_a_gold_label_each_is_an_error() -> None:
    arguments = batch(["a", "b"], as_messages=False) | {"solution": ["Edema"]}
    with pytest.raises(ValueError, match="shorter"):
        BATCH_REWARDS["f1_reward_hard"](**arguments)


def test_every_weight_has_its_reward() -> None:
    assert (
        set(RANGES)
        == set(BATCH_REWARDS)
        == {*ORIGINAL_WEIGHTS, *SUCCESSOR_WEIGHTS} | {"consistency_reward"}
    )
    assert set(ORIGINAL_WEIGHTS.values()) == {1.0}
    assert [*SUCCESSOR_WEIGHTS.values()] == [2.0, 0.5, 1.0]
