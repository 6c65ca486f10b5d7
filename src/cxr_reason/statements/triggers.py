"""The phrases that negate, hedge, or end the reach of those that do.

Written for chest radiographs, for clinical notes and for reasoning in spoken style. Method and
kinds of trigger: NegEx (Chapman et al. 2001) and ConText (Harkema et al. 2009). Which hedge means
which certainty follows the lexicon of Panicek and Hricak (AJR 2016): from "probable" (about 75 %)
upwards the reader commits to a finding; with "possible" (about 50 %) or less it stays open.
"""

from __future__ import annotations

import re

from cxr_reason.statements.patterns import rule_source

_WORDS = r"(?: \w{1,14}){0,2}"
_BE = r"(?:is|are|was|were|be|been|being|has been|have been|had been)"
_SEEN = (
    r"(?:definitely |clearly |well |definitively |readily |otherwise )?"
    r"(?:seen|identified|visuali[sz]ed|demonstrated|appreciated|evident|apparent|present|noted"
    r"|detected|observed|found|shown|visible|recogni[sz]ed|suggested|suspected)"
)
_CANNOT = r"(?:can ?not|can't|could not|may not|do(?:es)? not|not|never|difficult to|hard to)"
_EXCLUDE = rf"(?: be)?{_WORDS} (?:excluded?|ruled? out)"
# After these words an exclusion has no object of its own: what it leaves open stands before it.
_NO_OBJECT = r"(?=\s{0,4}(?:[.,;)]|and |but |on |by |in |at |with |given |\Z))"

# Kind → phrases. Where several kinds match at one place, the first in this order wins, so idioms
# that contain a trigger come before it.
TRIGGERS: dict[str, tuple[str, ...]] = {
    # Words of negation that deny a change or something else, not the finding.
    "pseudo": (
        rf"(?:no|without|not){_WORDS} changes?(?: in| of| from)?",
        r"no(?: \w{1,14})? (?:increase|decrease|progression|worsening|improvement|growth)"
        r"(?: in| of)?",
        r"not(?: \w{1,14})? (?:changed|increased|decreased|improved|worsened|progressed)",
        r"not (?:only|just|necessarily|causing|certain (?:if|whether))|no doubt|no comparison",
        r"gram negative|without difficulty|no further (?:follow up|imaging|evaluation)",
    ),
    # Doubt, in words of negation or of possibility, about what stands before …
    "possible_after": (
        rf"(?:{_BE} )?(?:less likely but )?{_CANNOT}{_EXCLUDE}{_NO_OBJECT}",
        rf"less likely{_NO_OBJECT}|{_BE} less likely",
        rf"{_BE} (?:also |thought )?(?:possible|questionable|questioned)",
        rf"{_BE} (?:also |thought )?(?:suspected|uncertain|equivocal|doubtful)",
        rf"{_BE} (?:also )?(?:a|in the) (?:possibility|consideration|differential|concern)",
        r"(?:may|might|could) (?:also )?be (?:present|seen|considered)",
        r"(?:should|must) be (?:considered|excluded)|suspected(?=\s{0,4}(?:[.,;]|\Z))",
    ),
    # … or after the phrase.
    "possible": (
        rf"{_CANNOT}{_EXCLUDE}",
        r"may|might|maybe|(?:could|can|would)(?: also| well| potentially| possibly)? (?:represent"
        r"|reflect|be|indicate|suggest|relate|have|include|mimic|correspond|signify|mean|obscure)",
        r"suggest(?:ed|s|ing|ive)?(?: of)?|indeterminate for",
        r"concern(?:ing|s|ed)?(?: for| about)|suspicious for|suspicion (?:of|for)",
        r"suspect(?:ed|s)?|worrisome for|worry for",
        r"differential(?: (?:diagnosis|considerations?|includes?|including)){0,2}(?: is| are| of)?",
        r"(?:alternatives?|differential)(?: \w{1,14}){0,2}:",
        r"considerations? (?:includes?|would include)|consider",
        r"possibilit(?:y|ies)(?: of| include)?",
        r"(?:in order )?to (?:exclude|rule out)|rule out|r/o|less likely|unlikely",
        r"question(?:ed| of)?|query|equivocal",
        r"in the (?:appropriate|proper|right|correct) (?:clinical )?(?:setting|context)",
    ),
    # A short hedge before a noun reaches that noun and its alternatives only.
    "possible_adjective": (r"possibl[ey]|potential(?:ly)?|questionabl[ey]|perhaps",),
    "versus": (r"versus|vs\.?",),
    "absent_after": (
        rf"{_BE}(?: \w{{1,14}})? not(?: been)? {_SEEN}|(?:not|never) {_SEEN}",
        r"(?:do|does|did) not (?:exist|persist|appear(?! to))",
        rf"{_BE} (?:now |completely |essentially |all )?(?:absent|negative|unlikely|excluded"
        r"|ruled out|resolved|gone|cleared|removed|resected|denied)",
        r"(?:has|have|had)(?: now| since| completely| largely| essentially| been){0,2}"
        r" (?:resolved|cleared|disappeared|removed)",
        r"(?:is|are|appears?|remains?) within (?:normal limits|limits of normal)",
        rf"(?:{_BE} )?no longer {_SEEN}|resolved(?=\s{{0,4}}(?:[.,;]|\Z))",
        r"(?<=:\s)(?:no|none|absent|negative)(?=\s{0,4}(?:[.,;]|\Z))",
    ),
    "absent": (
        r"no|not|nothing|without|nor|neither|never|none of|cannot (?:see|find|identify)",
        r"rather than|instead of",
        r"free (?:of|from)|clear of|devoid of|negative for|lack(?:s|ed|ing)?(?: of)?|absence of",
        r"absent|resolution of|resolved|clearing of|unremarkable for|ruled out for",
        r"rule[sd]? (?:him|her|them|the patient) out(?: for)?|rules out|exclud(?:es|ing)",
        r"den(?:y|ies|ied|ying)|(?:do|does|did|has|have|is|are|was|were|could|would)n't",
        r"fail(?:s|ed) to (?:show|reveal|demonstrate)|declin(?:es|ed)",
    ),
    # What is looked for, or belongs to another time, is not stated about this film.
    "unasserted": (
        r"(?:look(?:s|ing|ed)?|check(?:s|ing|ed)?|search(?:es|ing|ed)?|assess(?:ing|ed|ment)?"
        r"|evaluat(?:e|ing|ed|ion)|screen(?:ing)?|inspect(?:ing)?|monitor|watch)"
        r"(?: carefully| closely| also| specifically| now| next)? for",
        r"correlate(?: clinically)? (?:for|to|with)|whether|if(?: there)?",
        r"(?:history|hx) of|h/o|status post|s/p",
    ),
    # From here on the sentence says something new.
    "end": (
        r"but|however|although|though|except(?:ing)?(?: for)?|aside from|apart from|other than"
        r"|with the exception of|nevertheless|yet|whereas|while|because|since|therefore|which|who"
        r"|besides|still|then|instead|presented",
        r"and (?:there|it|this|these|they|we) (?:is|are|was|were|has|have|appears?|see|note)",
        r"and (?:the|both|his|her)(?: \w{1,14}){1,3}"
        r" (?:is|are|was|were|has|have|appears?|remains?)",
        r"consistent with(?: \w{1,14}){0,2} history of",
    ),
    # What causes what is denied is not denied with it; what is doubted stays so.
    "cause": (
        r"secondary to|due to|caused by|as (?:the|a|an) (?:cause|etiology|source) (?:of|for)",
    ),
    # The reader commits to what follows.
    "probable": (
        r"(?:most |highly |strongly |very )"
        r"(?:suggestive|suspicious|concerning|worrisome)(?: of| for)?",
        r"(?:most )?(?:likely|probabl[ey]|presum(?:ed|abl[ey])|consistent with|compatible with"
        r"|in keeping with|indicative of|diagnostic of)",
    ),
    "verb": (r"is|are|was|were|has|have|remains?|appears?",),
    "or": (r"or",),
    "joint": (r"and|with",),
}

# Punctuation that starts something new, alone or with the word after it, and the plain comma.
_END_MARKS = (
    r";|:(?=\s)(?!\s(?:no|none|absent|negative)\b)|\s--?\s|[\u2013\u2014]|\n\s{0,4}\n"
    r"|,(?=\s{0,4}(?:with|there|stable|unchanged|persistent|again|so|as|he|she|we|it"
    r"|and (?:an?|the|there|his|her|he|she|it|we))\b)"
)

TRIGGER = re.compile(
    "|".join(
        (
            rf"(?P<clause>{_END_MARKS})",
            "(?P<comma>,)",
            *(f"(?P<{kind}>{rule_source(phrases)})" for kind, phrases in TRIGGERS.items()),
        )
    ),
    re.IGNORECASE,
)
