import type { Settings } from "../api";

interface Props {
  settings: Settings;
  onChange: (settings: Partial<Settings>) => void;
}

const NUMBERS = [
  {
    name: "num_traces",
    label: "Traces",
    min: 1,
    max: 16,
    step: 1,
    title: "Sampled traces of the film; more than one give probabilities",
  },
  {
    name: "temperature",
    label: "Temperature",
    min: 0,
    max: 2,
    step: "any",
    title: "0 always takes the likeliest word",
  },
  { name: "seed", label: "Seed", min: 0, step: 1, title: "The same seed gives the same text" },
  { name: "max_tokens", label: "Most tokens", min: 1, step: 1, title: "The output is cut here" },
] as const;

/** What the next reading is asked with. An empty field leaves the choice to the server. */
export function SettingsForm({ settings, onChange }: Props) {
  return (
    <details class="settings">
      <summary>Settings</summary>
      <div class="fields">
        <label class="wide">
          Prompt
          <input
            value={settings.prompt}
            onInput={(event) => onChange({ prompt: event.currentTarget.value })}
          />
        </label>
        {NUMBERS.map(({ name, label, title, ...limits }) => (
          <label key={name} title={title}>
            {label}
            <input
              type="number"
              placeholder="server's"
              {...limits}
              value={settings[name]}
              onInput={(event) => onChange({ [name]: event.currentTarget.value })}
            />
          </label>
        ))}
        <label class="check">
          <input
            type="checkbox"
            checked={settings.answer_format === "labels"}
            onChange={(event) =>
              onChange({ answer_format: event.currentTarget.checked ? "labels" : "" })
            }
          />
          Hold the answer to the 14 labels
        </label>
      </div>
    </details>
  );
}
