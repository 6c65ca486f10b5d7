"""Verifiable rewards for GRPO: one completion → one number, and the same for a batch of TRL's.

Three rewards, each a pure function of the text, the gold labels and the number of tokens:

- the original's (NVIDIA-Medtech/NV-Reason-CXR, `train/vlm_rewards.py`), to the bit: Jaccard index,
  strict format, penalty for short completions;
- its successor's (NVIDIA-Medtech/NV-Reason-CT, `train/vlm_rewards.py`, for CT), for these labels
  and traces: F1 of the sets, structure, band of lengths;
- consistency, which neither has: the answer against the statements of its own reasoning.

A trainer takes functions and weights:

    GRPOTrainer(reward_funcs=[BATCH_REWARDS[name] for name in SUCCESSOR_WEIGHTS], …)
    GRPOConfig(reward_weights=[*SUCCESSOR_WEIGHTS.values()], …)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from operator import mul
from typing import Any

from cxr_reason.errors import BadRequestError
from cxr_reason.findings import LABELS, NO_FINDING, PARENTS
from cxr_reason.reading.audit import audit_trace
from cxr_reason.reading.sections import PARTS, SUMMARY, split_reasoning
from cxr_reason.reading.trace import Issue, Outcome, parse_trace
from cxr_reason.statements import Polarity, label_report

# What TRL hands over: plain text, or a conversation's messages.
Completion = str | Sequence[Mapping[str, Any]]
BatchReward = Callable[..., list[float]]

ORIGINAL_WEIGHTS: dict[str, float] = {"accuracy_reward_hard": 1.0, "overshort_penalty": 1.0}
SUCCESSOR_WEIGHTS: dict[str, float] = {
    "f1_reward_hard": 2.0,
    "structure_reward": 0.5,
    "length_band_penalty": 1.0,
}

_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_STRICT_FORM = re.compile(r"^<think>.*?</think>\s*<answer>.*?</answer>$", re.DOTALL)
_NAMES = frozenset(label.lower() for label in LABELS)
_NORMAL = NO_FINDING.lower()

_SHORT_TOKENS = 400
_BAND_TOKENS, _BAND_RAMP_TOKENS = (180, 900), (180, 300)

_MIN_SECTION_WORDS = 4  # fewer are a heading, or a word added only for the reward

_SUPPORT: dict[Polarity, float] = {"present": 1.0, "uncertain": 0.5, "absent": 0.0}


def original_reward(text: str, gold: str, num_tokens: int) -> float:
    """Return the original's whole reward, from -1 to 1: both of its parts with equal weights."""
    return accuracy_reward_hard(text, gold) + overshort_penalty(num_tokens)


def accuracy_reward(text: str, gold: str) -> float:
    """Return the Jaccard index of the sets of answer and gold, P and G.

        |P and G| / |P or G|

    Of NV-Reason-CXR. P is the first answer block, split at commas, in lower case; names other than
    the fourteen are dropped from P and from G, so they cost nothing. Both empty: 1. No answer
    block: 0.

    Args:
        text: The completion.
        gold: Comma-separated labels.
    """
    if (match := _ANSWER.search(text)) is None:
        return 0.0
    answered, true = _split(match[1]) & _NAMES, _split(gold) & _NAMES
    union = answered | true
    return len(answered & true) / len(union) if union else 1.0


def accuracy_reward_hard(text: str, gold: str) -> float:
    """Return `accuracy_reward`, or 0 unless the form is strict and each tag is there once.

    Of NV-Reason-CXR. The end of its expression, `$`, allows one line break after the last tag.
    """
    is_formed = bool(_STRICT_FORM.match(text)) and all(text.count(tag) == 1 for tag in _TAGS)
    return accuracy_reward(text, gold) if is_formed else 0.0


def overshort_penalty(num_tokens: int) -> float:
    """Return 0 from 400 tokens on, below (n - 400) / 400: -1 for none. Of NV-Reason-CXR."""
    return min(0.0, (num_tokens - _SHORT_TOKENS) / _SHORT_TOKENS)


def successor_reward(text: str, gold: str, num_tokens: int) -> float:
    """Return the successor's whole reward, from -1 to 2.5: `SUCCESSOR_WEIGHTS`."""
    parts = (f1_reward_hard(text, gold), structure_reward(text), length_band_penalty(num_tokens))
    return sum(map(mul, SUCCESSOR_WEIGHTS.values(), parts))


def f1_reward_hard(text: str, gold: str) -> float:
    """Return the F1 of the sets of answer and gold, P and G, if there is one answer block.

        2 |P and G| / (|P| + |G|)

    Of NV-Reason-CT. Unknown names stay in P, so they cost. An empty answer is No Finding. No
    Finding beside anything else is 0. Without exactly one answer block: 0. Think tags are not
    asked for here; `structure_reward` counts them.

    Args:
        text: The completion.
        gold: Comma-separated labels: names of `findings.LABELS`, whatever their case.

    Raises:
        BadRequestError: The gold labels are empty, unknown, or No Finding beside others.
    """
    true = _split(gold)
    if not true or true - _NAMES or _contradicts_itself(true):
        raise BadRequestError(
            f"gold labels {gold!r}: must be names of the fourteen labels, No Finding alone"
        )
    match = _ANSWER.search(text)
    if match is None or text.count("<answer>") != 1 or text.count("</answer>") != 1:
        return 0.0
    answered = _split(match[1]) or {_NORMAL}
    if _contradicts_itself(answered):
        return 0.0
    return 2.0 * len(answered & true) / (len(answered) + len(true))


def structure_reward(text: str) -> float:
    """Return how much of a trace's structure is there, from 0 to 1.

        0.15 form + 0.55 sections + 0.20 filled + 0.10 summary

    The formula and its weights are NV-Reason-CT's. It looks for a CT report's headings after the
    thinking; these traces have prose inside it. So here:

    - form: the share of the four tags that are there exactly once;
    - sections: the share of the ten sections (quality, devices, airways, lungs, pleura,
      mediastinum, hila, heart, abdomen, bones) that a sentence of the reasoning begins; sentences
      that begin none belong to the one before;
    - filled: the share of the ten and the summary that have four words or more;
    - summary: 1 if a summary is begun after all others, in the place of a numbered impression.

    Form and sections lose a fifth when not in order, as there.
    """
    places = [text.index(tag) for tag in _TAGS if text.count(tag) == 1]
    num_words = _count_section_words(parse_trace(text, truncated=False).reasoning)
    begun = [name for name in num_words if name != SUMMARY]
    ranks = [PARTS.index(name) for name in begun]
    num_filled = sum(count >= _MIN_SECTION_WORDS for count in num_words.values())
    reward = (
        0.15 * _share_in_order(places, len(_TAGS))
        + 0.55 * _share_in_order(ranks, len(PARTS))
        + 0.20 * num_filled / (len(PARTS) + 1)
        + 0.10 * (bool(begun) and [*num_words][-1] == SUMMARY)
    )
    return min(reward, 1.0)  # in binary the weights may add up to a little more


def length_band_penalty(num_tokens: int) -> float:
    """Return 0 from 180 to 900 tokens, -1 at none and from 1200 on, linear between.

    Of NV-Reason-CT: below the band (n - 180) / 180, above it (900 - n) / 300.
    """
    below = (num_tokens - _BAND_TOKENS[0]) / _BAND_RAMP_TOKENS[0]
    above = (_BAND_TOKENS[1] - num_tokens) / _BAND_RAMP_TOKENS[1]
    return max(-1.0, min(0.0, below, above))


def consistency_reward(text: str) -> float:
    """Return how far the reasoning supports the answer, from 0 to 1, whatever the gold labels.

        max(0, (S - C) / N)

    - N: names in the answer, unknown ones too.
    - S: the sum of their support: 1 where the reasoning states the label, or one below it in the
      hierarchy, as present, 0.5 as uncertain, else 0. No Finding is supported where the reasoning
      denies findings and states none (`statements.collect_labels`).
    - C: contradictions of `audit.audit_trace`: labels in the answer that the reasoning only denies,
      and findings that the reasoning states and the answer leaves out.

    0 as well where the form is not complete (refusals, doubled tags, text outside of them), where
    the answer names nothing, and where it has No Finding beside findings. Statements are read by
    rules, where present wins over absent: a reasoning that contradicts itself is not seen.
    """
    trace = parse_trace(text, truncated=False)
    num_names = len(trace.labels) + len(trace.unknown_labels)
    is_complete = trace.outcome is Outcome.COMPLETE
    if not (is_complete and num_names) or Issue.NO_FINDING_BESIDE_FINDINGS in trace.issues:
        return 0.0
    stated = label_report(trace.reasoning, "chexpert")
    support = sum(_support(label, stated) for label in trace.labels)
    _, contradictions = audit_trace(trace)
    return max(0.0, (support - len(contradictions)) / num_names)


def _split(names: str) -> set[str]:
    return {name.strip().lower() for name in names.split(",")} - {""}


def _contradicts_itself(names: set[str]) -> bool:
    return _NORMAL in names and len(names) > 1


def _count_section_words(reasoning: str) -> dict[str, int]:
    """Return the number of words of each section, in the order in which they are begun."""
    num_words: dict[str, int] = {}
    for section in split_reasoning(reasoning):
        words = reasoning[section.start : section.end].split()
        num_words[section.name] = num_words.get(section.name, 0) + len(words)
    return num_words


def _share_in_order(places: list[int], num_expected: int) -> float:
    share = len(places) / num_expected
    return share if places == sorted(places) else 0.8 * share


def _support(label: str, stated: Mapping[str, Polarity]) -> float:
    below = [_support(child, stated) for child, parent in PARENTS.items() if parent == label]
    return max([_SUPPORT[stated.get(label, "absent")], *below])


def _of_text(reward: Callable[[str], float]) -> BatchReward:
    def batch(*, completions: Sequence[Completion], **_: object) -> list[float]:
        return [reward(_text_of(completion)) for completion in completions]

    return _named_after(reward, batch)


def _of_text_and_gold(reward: Callable[[str, str], float]) -> BatchReward:
    def batch(
        *, completions: Sequence[Completion], solution: Sequence[str], **_: object
    ) -> list[float]:
        pairs = zip(completions, solution, strict=True)
        return [reward(_text_of(completion), gold) for completion, gold in pairs]

    return _named_after(reward, batch)


def _of_length(reward: Callable[[int], float]) -> BatchReward:
    def batch(*, completion_ids: Sequence[Sequence[int]], **_: object) -> list[float]:
        return [reward(len(ids)) for ids in completion_ids]

    return _named_after(reward, batch)


def _named_after(reward: Callable[..., float], batch: BatchReward) -> BatchReward:
    batch.__name__ = reward.__name__  # TRL logs a reward under its function's name
    return batch


def _text_of(completion: Completion) -> str:
    return completion if isinstance(completion, str) else str(completion[0]["content"])


# TRL calls with keywords only: `prompts`, `completions`, `completion_ids` and the columns of the
# data set, of which `solution` holds the gold labels, comma-separated.
BATCH_REWARDS: dict[str, BatchReward] = {
    reward.__name__: reward
    for reward in (
        _of_text_and_gold(accuracy_reward_hard),
        _of_length(overshort_penalty),
        _of_text_and_gold(f1_reward_hard),
        _of_text(structure_reward),
        _of_length(length_band_penalty),
        _of_text(consistency_reward),
    )
}
