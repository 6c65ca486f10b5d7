import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import type { State } from "../controller";
import { splitByEvidence, type Span } from "../text";

const SPACE_ABOVE_PX = 40;
const TAGS = /<\/?(think|answer)(ing)?>/g;

/** The text of the model as it comes; sentences that speak of a finding are marked. */
export function Reasoning({ state, selected }: { state: State; selected: string | null }) {
  const [isOpen, setOpen] = useState(true);
  const [trace, setTrace] = useState(0);
  const box = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  const { reading, items } = state;
  const text = reading ? reading.reasoning : state.reasoning;
  const findings = items.flatMap((item) => (item.finding ? [item.finding] : []));
  const spans = useMemo(() => splitByEvidence(text, findings), [text, items]);
  const answer = reading ? reading.answer : state.answer;
  const traces = reading?.traces ?? [];
  const other = trace > 0 ? traces[trace] : undefined;
  const isStreaming = state.phase === "reading";

  // New text is followed, unless the reader has scrolled back.
  useLayoutEffect(() => {
    if (isStreaming && isAtEnd.current && box.current)
      box.current.scrollTop = box.current.scrollHeight;
  }, [text, isStreaming]);

  useEffect(() => setTrace(0), [reading]);
  useEffect(() => {
    if (!selected) return;
    // Evidence points into the first trace.
    setTrace(0);
    setOpen(true);
  }, [selected]);
  useEffect(() => {
    const mark = box.current?.querySelector<HTMLElement>(".selected");
    // Only the text moves: a list that jumped under the pointer would be a nuisance.
    if (isOpen && mark) box.current!.scrollTop = mark.offsetTop - SPACE_ABOVE_PX;
  }, [selected, isOpen, trace]);

  return (
    <section class="reasoning">
      <h2>
        <button
          class="fold"
          aria-expanded={isOpen}
          aria-controls="trace"
          onClick={() => setOpen(!isOpen)}
        >
          Reasoning
        </button>
        <span class="hint">{isStreaming ? "the model is writing" : ""}</span>
        <span class="space" />
        {traces.length > 1 && (
          <select
            aria-label="Trace"
            value={trace}
            onChange={(event) => setTrace(Number(event.currentTarget.value))}
          >
            {traces.map((_, index) => (
              <option key={index} value={index}>
                Trace {index + 1} of {traces.length}
              </option>
            ))}
          </select>
        )}
      </h2>
      <div
        id="trace"
        ref={box}
        class="trace"
        hidden={!isOpen}
        tabIndex={0}
        role="region"
        aria-label="Text of the reasoning"
        aria-busy={isStreaming}
        onScroll={(event) => {
          const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
          isAtEnd.current = scrollHeight - scrollTop - clientHeight < 24;
        }}
      >
        {!text && !answer && !state.other && <p class="hint">Nothing yet.</p>}
        {other === undefined ? (
          <Marked spans={spans} selected={selected} />
        ) : (
          other.text.replace(TAGS, "").trim()
        )}
        {!reading && state.other && <p class="other">{state.other}</p>}
      </div>
      {answer && (
        <p class="answer">
          <span class="hint">{reading && !reading.reasoning ? "Text" : "Answer"}</span> {answer}
        </p>
      )}
    </section>
  );
}

/** Text in which the sentences that speak of a finding are marked. */
function Marked({ spans, selected }: { spans: Span[]; selected: string | null }) {
  return (
    <>
      {spans.map((span, index) =>
        span.labels.length ? (
          <mark
            key={index}
            class={selected && span.labels.includes(selected) ? "selected" : ""}
            title={span.labels.join(", ")}
          >
            {span.text}
          </mark>
        ) : (
          span.text
        ),
      )}
    </>
  );
}
