import { useState } from "preact/hooks";

import type { Controller } from "../controller";
import { contradictionsOf } from "../notices";
import { LABELS } from "../reading";
import { FindingRow } from "./finding-row";

interface Props {
  controller: Controller;
  selected: string | null;
  onSelect: (label: string) => void;
}

/** What the model states, and what the reader makes of it. */
export function Findings({ controller, selected, onSelect }: Props) {
  const [isAdding, setAdding] = useState(false);
  const { items, reading, times } = controller.state;
  const unused = LABELS.filter((label) => !items.some((item) => item.label === label));
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
          <tbody>
            {items.map((item) => (
              <FindingRow
                key={item.label}
                item={item}
                conflicts={contradictionsOf(reading, item.label)}
                numTraces={reading?.provenance.num_traces ?? 1}
                isSelected={item.label === selected}
                isLocked={controller.isSignedOff}
                onSelect={() => onSelect(item.label)}
                onChange={(change) => controller.change(item.label, change)}
              />
            ))}
          </tbody>
        </table>
      ) : (
        <p class="hint">{reading ? "The text states no finding." : "None stated yet."}</p>
      )}
      {reading && items.length > 0 && (
        <p class="hint">What the text says: a finding that it does not name is not ruled out.</p>
      )}
    </section>
  );
}
