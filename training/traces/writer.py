"""Facts → a trace by rules: deterministic, offline, in the radiologist's order.

Quality, devices, airways, lungs by zone, pleura, mediastinum, hila, heart, abdomen, bones, summary.
Every label that is known is decided once, in its section, in a fixed order.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from cxr_reason.findings import LABELS, NO_FINDING
from cxr_reason.statements import Polarity
from cxr_reason.training.traces import phrases
from cxr_reason.training.traces.check import TraceError, check_trace
from cxr_reason.training.traces.facts import Facts, Sign, gold_answer
from cxr_reason.training.traces.places import (
    LUNG_LABELS,
    PLEURAL_LABELS,
    ZONE_NAMES,
    place_words,
    zone_states,
)


def write_trace(facts: Facts, seed: int) -> str:
    """Write the whole output for one film: reasoning and answer.

    Args:
        facts: What the source states.
        seed: Chooses among the few phrases of each slot.

    Raises:
        TraceError: No answer follows from the facts: nothing is present, nothing uncertain, and
            `No Finding` is not present either.
    """
    answer = gold_answer(facts.states)
    if not answer:
        raise TraceError(
            "no answer follows from the facts: no label is present or uncertain, and No Finding is"
            " not present; leave this film out"
        )
    reasoning = " ".join(_Writer(facts, random.Random(seed)).sentences())
    text = f"<think> {reasoning} </think>\n<answer> {answer} </answer>"
    check_trace(text, facts)
    return text


class _Writer:
    def __init__(self, facts: Facts, rng: random.Random) -> None:
        self._facts = facts
        self._rng = rng

    def sentences(self) -> Iterator[str]:
        yield self._choose(phrases.QUALITY).format(view=phrases.VIEWS[self._facts.view])
        yield from self._devices()
        yield self._choose(phrases.AIRWAYS)
        yield from self._lungs()
        yield self._choose(phrases.PLEURA)
        yield from self._decide(PLEURAL_LABELS)
        yield from self._decide(("Enlarged Cardiomediastinum",), phrases.MEDIASTINUM)
        yield self._choose(phrases.HILA)
        yield from self._decide(("Cardiomegaly",), phrases.HEART)
        yield self._choose(phrases.ABDOMEN)
        yield self._choose(phrases.BONES)
        yield from self._decide(("Fracture",), phrases.NO_WORD_ON_BONES)
        yield from self._summary()

    def _choose(self, variants: Sequence[str]) -> str:
        # Not `choice`: Python guarantees the sequence of `random` only.
        return variants[int(self._rng.random() * len(variants))]

    def _devices(self) -> Iterator[str]:
        yield from self._decide(("Support Devices",), phrases.NO_WORD_ON_DEVICES)
        signs = self._facts.signs_of("Support Devices")
        names = [
            _with_article(f"{sign.side} {sign.kind}" if sign.side else sign.kind)
            for sign in signs
            if sign.kind in phrases.DEVICES and sign.state == "present"
        ]
        if names:
            yield f"There is {_join(names)}."

    def _lungs(self) -> Iterator[str]:
        zones = zone_states(self._facts)
        if zones is None:
            yield self._choose(phrases.LUNGS_UNPLACED)
        else:
            yield self._choose(phrases.LUNGS)
            for place, state in zones.items():
                zone = f"{place[0]} {ZONE_NAMES[place[1]]}"
                yield self._choose(phrases.ZONES[state]).format(zone=zone)
        yield from self._decide(LUNG_LABELS)

    def _decide(self, labels: Sequence[str], otherwise: Sequence[str] = ()) -> Iterator[str]:
        """Say what is known about labels; `otherwise`, if nothing is known about any."""
        known = [label for label in labels if label in self._facts.states]
        if not known and otherwise:
            yield self._choose(otherwise)
        for label in known:
            yield self._clause(label, self._facts.states[label])

    def _clause(self, label: str, state: Polarity) -> str:
        signs = self._facts.signs_of(label)
        own = [sign for sign in signs if sign.label == label]
        if label in phrases.OWN_WORDS:
            is_by_heart = bool(signs) and not own and state in phrases.BY_HEART
            words = phrases.BY_HEART if is_by_heart else phrases.OWN_WORDS[label]
            return self._choose(words[state])
        noun = phrases.NOUNS[label]
        if state == "absent":
            return self._choose(phrases.ABSENT).format(noun=noun.removeprefix("a "))
        alternative = phrases.ALTERNATIVES[label]
        variants = phrases.PRESENT if state == "present" else phrases.UNCERTAIN
        return self._choose(variants).format(
            noun=noun,
            Noun=noun[:1].upper() + noun[1:],
            where=place_words(signs),
            # A label that only follows from those below it has no alternatives of its own.
            tail=_tail(own, alternative) if own or not signs else "",
            alternative=alternative,
        )

    def _summary(self) -> Iterator[str]:
        present, uncertain = (
            [x for x in LABELS if x != NO_FINDING and self._facts.states.get(x) == state]
            for state in ("present", "uncertain")
        )
        # A disease without a label leaves No Finding absent: then there is something else.
        if present == ["Support Devices"] and self._facts.states.get(NO_FINDING) == "present":
            yield self._choose(phrases.SUMMARY_DEVICES)
        elif present:
            names = _join([phrases.NOUNS[label] for label in present])
            yield self._choose(phrases.SUMMARY_PRESENT).format(names=names)
        elif uncertain:
            yield self._choose(phrases.SUMMARY_UNCERTAIN)
        else:
            yield self._choose(phrases.SUMMARY_NORMAL)
        if uncertain:
            names = _join([phrases.NOUNS[label] for label in uncertain])
            yield self._choose(phrases.MAY_BE).format(names=names)


def _tail(signs: Sequence[Sign], alternative: str) -> str:
    words = (phrases.KINDS.get((sign.label, sign.kind)) for sign in signs)
    kinds = list(dict.fromkeys(filter(None, words)))
    named = f"{_join(kinds)} " if kinds else ""
    return f", {named}rather than {alternative}"


def _join(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
