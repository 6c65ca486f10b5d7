import { useState } from "preact/hooks";

import { placesOf, statedIn, type Finding, type Polarity } from "../reading";
import type { Change, Decision, ReviewItem } from "../review";

interface Props {
  item: ReviewItem;
  conflicts: string[];
  numTraces: number;
  isSelected: boolean;
  isLocked: boolean;
  onSelect: () => void;
  onChange: (change: Change) => void;
}

const STATUSES: Polarity[] = ["present", "uncertain", "absent"];

/** One finding: what the model says of it, and the reader's decision. */
export function FindingRow(props: Props) {
  const { item, conflicts, isSelected, isLocked, onSelect, onChange } = props;
  const [isEditing, setEditing] = useState(false);
  const { finding } = item;

  function decide(decision: Decision): void {
    setEditing(false);
    onChange({ decision: item.decision === decision ? null : decision });
  }

  return (
    <>
      <tr class={[item.decision ?? "open", isSelected ? "selected" : ""].join(" ")}>
        <th scope="row">
          <button class="link" aria-pressed={isSelected} onClick={onSelect}>
            {item.label}
          </button>
        </th>
        <td class="status">
          {finding ? <Status status={finding.status} /> : <span class="hint">not stated</span>}
          {finding && finding.probability !== null && (
            <Share finding={finding} numTraces={props.numTraces} />
          )}
        </td>
        <td>{finding ? placesOf(finding).join("; ") : ""}</td>
        <td class="decision" role="group" aria-label={`Decision on ${item.label}`}>
          <button
            aria-pressed={item.decision === "accepted"}
            disabled={isLocked || !finding}
            onClick={() => decide("accepted")}
          >
            Accept
          </button>
          <button
            aria-pressed={item.decision === "edited"}
            aria-expanded={isEditing}
            disabled={isLocked}
            onClick={() => setEditing(!isEditing)}
          >
            Edit
          </button>
          <button
            aria-pressed={item.decision === "rejected"}
            disabled={isLocked}
            onClick={() => decide("rejected")}
          >
            Reject
          </button>
        </td>
      </tr>
      {conflicts.map((text) => (
        <tr class="conflict" key={text}>
          <td colSpan={4}>{text}</td>
        </tr>
      ))}
      {isEditing && !isLocked ? (
        <tr class="editor">
          <td colSpan={4}>
            <Editor item={item} onChange={onChange} onClose={() => setEditing(false)} />
          </td>
        </tr>
      ) : (
        item.decision === "edited" && (
          <tr class="edited-to">
            <td colSpan={4}>
              Reader: {[item.status, item.place, item.comment].filter(Boolean).join(" · ")}
            </td>
          </tr>
        )
      )}
    </>
  );
}

function Editor({
  item,
  onChange,
  onClose,
}: Pick<Props, "item" | "onChange"> & { onClose: () => void }) {
  const edit = (change: Change) => onChange({ ...change, decision: "edited" });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <label>
        Status
        <select
          value={item.status}
          ref={(element) => {
            if (element && !element.dataset["seen"]) {
              element.dataset["seen"] = "yes";
              element.focus();
            }
          }}
          onChange={(event) => edit({ status: event.currentTarget.value as Polarity })}
        >
          {STATUSES.map((status) => (
            <option key={status}>{status}</option>
          ))}
        </select>
      </label>
      <label>
        Place
        <input value={item.place} onInput={(event) => edit({ place: event.currentTarget.value })} />
      </label>
      <label class="wide">
        Comment
        <input
          value={item.comment}
          onInput={(event) => edit({ comment: event.currentTarget.value })}
        />
      </label>
      <button>Done</button>
    </form>
  );
}

/** The share of the traces, and what the shown one says where that differs. */
function Share({ finding, numTraces }: { finding: Finding; numTraces: number }) {
  const stated = statedIn(finding);
  return (
    <>
      <span class="share" title={`Share of the ${numTraces} sampled traces`}>
        {Math.round((finding.probability ?? 0) * 100)} %
      </span>
      {stated !== finding.status && (
        <span class="tag" title="What the first trace says, whose text is shown">
          text: {stated ?? "nothing"}
        </span>
      )}
    </>
  );
}

/** Status in a sign and a word: colour alone would not do. */
function Status({ status }: { status: Polarity }) {
  const signs = { present: "●", uncertain: "◐", absent: "○" };
  return (
    <span class={status}>
      <span aria-hidden="true">{signs[status]}</span> {status}
    </span>
  );
}
