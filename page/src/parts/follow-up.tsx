import { useState } from "preact/hooks";

import type { Controller } from "../controller";

const SUGGESTIONS = ["Provide differentials.", "Write a structured report."];
const STATES = { asking: "writing", done: "", stopped: "stopped", failed: "failed" };

/** Questions after the reading; the conversation goes along with each. */
export function FollowUp({ controller }: { controller: Controller }) {
  const [question, setQuestion] = useState("");
  const { reading, turns } = controller.state;
  const isOff = !reading || controller.isBusy;

  function ask(text: string): void {
    if (!text.trim()) return;
    setQuestion("");
    void controller.ask(text.trim());
  }

  return (
    <section class="follow-up">
      <h2>Follow-up</h2>
      {turns.map((turn, index) => (
        <article key={index} aria-busy={turn.state === "asking"}>
          <p class="question">{turn.question}</p>
          {turn.reasoning && (
            <details>
              <summary>Reasoning</summary>
              <p class="text">{turn.reasoning}</p>
            </details>
          )}
          <p class="text">{turn.answer.trim()}</p>
          <p class="hint">{STATES[turn.state]}</p>
        </article>
      ))}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          ask(question);
        }}
      >
        <input
          aria-label="Follow-up question"
          placeholder={reading ? "Ask about this film" : "After the reading"}
          value={question}
          disabled={isOff}
          onInput={(event) => setQuestion(event.currentTarget.value)}
        />
        <button disabled={isOff || !question.trim()}>Ask</button>
      </form>
      <div class="suggestions">
        {SUGGESTIONS.map((text) => (
          <button key={text} class="quiet" disabled={isOff} onClick={() => ask(text)}>
            {text}
          </button>
        ))}
      </div>
    </section>
  );
}
