import { useState } from "preact/hooks";

import type { Controller } from "../controller";
import { contradictionsOf } from "../notices";
import { LABELS } from "../reading";
import type { ReviewItem } from "../review";
import { FindingRow } from "./finding-row";

interface Props {
  controller: Controller;
  selected: string | null;
  onSelect: (label: string) => void;
}

/** What the model states, and what the reader makes of it. */
export function Findings({ controller, selected, onSelect }: Props) {
  const [isAdding, setAdding] = useState(false);
  const [showsAbsent, setShowsAbsent] = useState(false);
  const { items, reading, times } = controller.state;
  const unused = LABELS.filter((label) => !items.some((item) => item.label === label));
  const numTraces = reading?.provenance.num_traces ?? 1;
  const folded = items.filter(isFolded);

  /** What is only denied needs little room, unless the answer says otherwise. */
  function isFolded(item: ReviewItem): boolean {
    const isAbsent = item.finding?.status === "absent" && item.status === "absent";
    return isAbsent && !contradictionsOf(reading, item.label).length;
  }

  function row(item: ReviewItem) {
    return (
      <FindingRow
        key={item.label}
        item={item}
        conflicts={contradictionsOf(reading, item.label)}
        numTraces={numTraces}
        isSelected={item.label === selected}
        isLocked={controller.isSignedOff}
        onSelect={() => onSelect(item.label)}
        onChange={(change) => controller.change(item.label, change)}
      />
    );
  }

  return (
    <section class="findings">
      <h2>
        Findings
        <span class="space" />
        {isAdding ? (
          <select
            aria-label="Finding to add"
            ref={(element) => element?.focus()}
            onBlur={() => setAdding(false)}
            onChange={(event) => {
              controller.add(event.currentTarget.value);
              setAdding(false);
            }}
          >
            <option value="">Choose</option>
            {unused.map((label) => (
              <option key={label}>{label}</option>
            ))}
          </select>
        ) : (
          <button
            class="quiet"
            disabled={!times || controller.isSignedOff}
            onClick={() => setAdding(true)}
          >
            Add finding
          </button>
        )}
      </h2>
      {items.length ? (
        <table>
          <thead>
            <tr>
              <th scope="col">Finding</th>
              <th scope="col">Model</th>
              <th scope="col">Place</th>
              <th scope="col">Reader</th>
            </tr>
          </thead>
          <tbody>{items.filter((item) => !isFolded(item)).map(row)}</tbody>
          {folded.length > 0 && (
            <tbody>
              <tr>
                <th colSpan={3} scope="rowgroup">
                  <button
                    class="fold"
                    aria-expanded={showsAbsent}
                    onClick={() => setShowsAbsent(!showsAbsent)}
                  >
                    Absent: {folded.length}
                  </button>
                </th>
                <td class="decision">
                  <button
                    disabled={controller.isSignedOff || folded.every((item) => item.decision)}
                    onClick={() => controller.acceptOpen(folded.map((item) => item.label))}
                  >
                    Accept all
                  </button>
                </td>
              </tr>
              {showsAbsent && folded.map(row)}
            </tbody>
          )}
        </table>
      ) : (
        <p class="hint">{reading ? "The text states no finding." : "None stated yet."}</p>
      )}
      {reading && items.length > 0 && (
        <p class="hint">
          A finding that the text does not name is not ruled out.
          {numTraces > 1 && ` Shares are of ${numTraces} sampled traces; the text is the first.`}
        </p>
      )}
    </section>
  );
}
