"""Whether a sentence is English, so that the rules for English read nothing else.

"Kein Pneumothorax" and "Pas de pneumothorax" name a finding in letters that English rules know and
deny it in words that they do not: read as English they state it. So each sentence is judged by its
own words and letters, and one of another language states nothing. No model and no dependency: as
for statements, lists of words. A text without letters or words that tell, such as "Pneumothorax.",
is taken as its neighbours are, or, alone, as English.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Literal

from cxr_reason.statements.language_words import ENGLISH, HALF_OTHER, OTHER, OTHER_ENDINGS, SHARED
from cxr_reason.statements.sentences import film_sentences

# `open`: nothing in the sentence tells.
Language = Literal["english", "other", "open"]

_LATIN = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff"
_WORD = re.compile(rf"(?P<latin>[{_LATIN}]{{1,40}})|[^\W\d_{_LATIN}]{{1,40}}")
# From here on (Thai, Chinese, Japanese, Korean) a word is not set apart by spaces, and has about
# two characters.
_UNSPACED = "\u0e00"
# In capitals, short words are abbreviations: ET tube, LA, DES.
_LONGEST_ABBREVIATION = 3
_ENDING = re.compile(rf"\w{{3}}(?:{'|'.join(sorted(OTHER_ENDINGS))})\Z")
# So many words, none of them in English use, are another language although no list has them.
_FEWEST_WORDS = 6


def judge_sentence(sentence: str) -> Language:
    """Say whether one sentence, or any fragment, is English, by counting words.

    A word counts for English or against it by the lists of `language_words`; any other word with
    an accent, or in another script, counts against. In a tie the sentence is not English: a
    finding that is not taken is seen, one that is turned round is not.
    """
    # Full-width letters and ligatures are their letters; an accent is part of its letter.
    text = sentence if sentence.isascii() else unicodedata.normalize("NFKC", sentence)
    english = num_strange = 0
    other = 0.0
    has_shared = False
    for match in _WORD.finditer(text):
        word = match[0]
        if not match["latin"]:
            # A Greek letter alone is a symbol.
            other += (len(word) + 1) // 2 if word >= _UNSPACED else len(word) > 1
            continue
        if len(word) == 1 and word.isascii():
            continue
        lower = word.lower()
        if lower in ENGLISH:
            english += 1
        elif lower in OTHER:
            other += not (word.isupper() and len(word) <= _LONGEST_ABBREVIATION)
        elif lower in HALF_OTHER:
            other += 0.5
        elif not word.isascii() or _is_foreign(lower):
            other += 1
        else:
            has_shared |= lower in SHARED
            num_strange += 1
    if english or other:
        return "english" if english > other else "other"
    return "other" if num_strange >= _FEWEST_WORDS and not has_shared else "open"


def _is_foreign(word: str) -> bool:
    """Whether a word that is in no list ends as words of another language do."""
    return word not in SHARED and _ENDING.search(word) is not None


def settle(languages: Iterable[Language]) -> list[Language]:
    """Give sentences that tell nothing the language of a neighbour.

    Args:
        languages: `judge_sentence` of each sentence of a text, in their order.

    Returns:
        The same, where an open one has that of the sentence before it; at the beginning, that of
        the first sentence that tells. Open are only those of a text in which no sentence tells.
    """
    found = list(languages)
    previous: Language = next((language for language in found if language != "open"), "open")
    for i, language in enumerate(found):
        previous = previous if language == "open" else language
        found[i] = previous
    return found


def english_sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of the English sentences about the film; see `film_sentences`."""
    spans = list(film_sentences(text))
    languages = settle(judge_sentence(text[start:end]) for start, end in spans)
    for span, language in zip(spans, languages, strict=True):
        if language != "other":
            yield span


def has_other_language(text: str) -> bool:
    """Whether any sentence about the film is not English."""
    return any(judge_sentence(text[start:end]) == "other" for start, end in film_sentences(text))
