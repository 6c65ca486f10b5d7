"""Real reports → traces by a language model behind an OpenAI-compatible chat endpoint.

The model writes, the rules decide: what it returns is used only if `check_trace` accepts it
against the labels that the statement rules read in the report. Needs the package `openai` (extra
`train`); any server of that interface will do, e.g. `vllm serve`. Reports leave this machine:
use an endpoint that your data may go to.
"""

from __future__ import annotations

from types import TracebackType

from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from cxr_reason.errors import RequestTimeoutError, ServerError, ServerUnavailableError
from cxr_reason.findings import NO_FINDING
from cxr_reason.training.traces.check import SECTIONS, TraceError, check_trace
from cxr_reason.training.traces.facts import Facts, facts_of_report, gold_answer
from cxr_reason.training.traces.writer import write_trace

_MAX_TOKENS = 1_200  # four times a long trace
_EXAMPLE = (
    "Small right pleural effusion. Possible pneumonia in the left lower lobe. No pneumothorax. The"
    " heart size is normal."
)
_INSTRUCTIONS = f"""\
You rewrite a chest radiograph report as the reasoning of a radiologist who reads the film.

Form, and nothing before or after it:
<think> reasoning </think>
<answer> label, label </answer>

Rules:
- Go through these sections in this order, in plain sentences: {SECTIONS}.
- A section that the report is silent on only tells where you look, without any result.
- State every label of the list with its state: present as a fact, uncertain with "possible" or
  "may", absent with "no". State no other finding, device or disease, and no other side or zone.
- For what is present or uncertain name one alternative that is not a label, such as overlapping
  soft tissue, a skin fold or a shallow breath.
- The answer is exactly the one that is given."""


class TraceRewriter:
    """Writes traces from reports through a chat endpoint; a context manager.

        with TraceRewriter("http://localhost:8000/v1", "-", "a-model") as rewriter:
            text = rewriter.rewrite(report)

    Args:
        base_url: Of the endpoint, with its version, e.g. `http://localhost:8000/v1`.
        api_key: Whatever the endpoint asks for.
        model: Its name there.
        timeout_s: Of one request.
        max_attempts: Traces to ask for before a report is given up.
        max_retries: Of one request that failed, by the library, with growing pauses.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        model: str,
        *,
        timeout_s: float = 60.0,
        max_attempts: int = 3,
        max_retries: int = 2,
    ) -> None:
        self._client = OpenAI(
            base_url=base_url, api_key=api_key, timeout=timeout_s, max_retries=max_retries
        )
        self._model = model
        self._timeout_s = timeout_s
        self._max_attempts = max_attempts

    def __enter__(self) -> TraceRewriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def rewrite(self, report_text: str) -> str:
        """Return the trace of a report; the model is told what is wrong with a bad one.

        Raises:
            TraceError: No answer follows from the report, or no attempt passed the check.
            RequestTimeoutError: No reply in time.
            ServerUnavailableError: The endpoint cannot be reached or fails.
            ServerError: It refused the request, or its reply is no chat completion.
        """
        facts = facts_of_report(report_text)
        if not gold_answer(facts.states):
            raise TraceError("no answer follows from the report; leave it out")
        messages = [*_teach(), _user(_task(report_text, facts))]
        complaint = ""
        for _ in range(self._max_attempts):
            text = self._ask(messages)
            try:
                check_trace(text, facts)
            except TraceError as error:
                complaint = error.message
                messages += [
                    {"role": "assistant", "content": text},
                    _user(f"This was refused: {complaint}. Write it again without these faults."),
                ]
            else:
                return text
        raise TraceError(f"none of {self._max_attempts} attempts passed; the last: {complaint}")

    def _ask(self, messages: list[ChatCompletionMessageParam]) -> str:
        # Replies may repeat the report, so no error carries one (`from None`).
        try:
            reply = self._client.chat.completions.create(
                model=self._model, messages=messages, max_completion_tokens=_MAX_TOKENS
            )
        except APITimeoutError:
            raise RequestTimeoutError(
                f"endpoint: no reply in {self._timeout_s:g} s; allow more or ask for less at a time"
            ) from None
        except APIConnectionError:
            raise ServerUnavailableError(
                "endpoint: cannot be reached; check base_url and that it runs"
            ) from None
        except APIStatusError as error:
            status = error.status_code
            kind = ServerUnavailableError if status >= 500 else ServerError
            raise kind(f"endpoint: HTTP status {status}; its own log says why") from None
        except (APIError, ValueError):
            raise ServerError("endpoint: its reply is not a chat completion") from None
        # The library does not check what it parses: HTML is handed over as text, and JSON may lack
        # any field.
        try:
            content = reply.choices[0].message.content
        except (AttributeError, IndexError, TypeError):
            raise ServerError("endpoint: its reply is not a chat completion") from None
        return str(content or "").strip()


def _teach() -> list[ChatCompletionMessageParam]:
    facts = facts_of_report(_EXAMPLE)
    return [
        {"role": "system", "content": _INSTRUCTIONS},
        _user(_task(_EXAMPLE, facts)),
        {"role": "assistant", "content": write_trace(facts, seed=0)},
    ]


def _task(report_text: str, facts: Facts) -> str:
    # No Finding is no statement of its own: it follows from the rest.
    labels = [label for label in facts.states if label != NO_FINDING]
    states = "\n".join(f"- {label}: {_describe(facts, label)}" for label in labels)
    answer = gold_answer(facts.states)
    return f"Report:\n{report_text}\n\nLabels:\n{states}\n\nAnswer: {answer}"


def _describe(facts: Facts, label: str) -> str:
    places = [" ".join(filter(None, (sign.side, sign.zone))) for sign in facts.signs_of(label)]
    return ", ".join(dict.fromkeys((facts.states[label], *places)))


def _user(text: str) -> ChatCompletionMessageParam:
    return {"role": "user", "content": text}
