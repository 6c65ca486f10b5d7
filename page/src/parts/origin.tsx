import type { Reading } from "../reading";

/** What made the reading, and what it cost. */
export function Origin({ reading }: { reading: Reading }) {
  const { provenance, usage, film } = reading;
  const rows = {
    Film: film ? `SHA-256 ${film.image_digest}` : "none",
    Checkpoint: provenance.checkpoint_digest,
    Engine: `${provenance.engine_digest} (${provenance.backend}, ${provenance.precision})`,
    Software: provenance.software_version,
    Sampling: `traces ${provenance.num_traces}, temperature ${provenance.temperature}, seed ${provenance.seed}`,
    Thresholds: provenance.calibration,
    Tokens: `${usage.prompt_tokens} in, ${usage.completion_tokens} out`,
    Seconds:
      `${usage.queue_s.toFixed(2)} in the queue, ` +
      `${usage.time_to_first_token_s.toFixed(2)} to the first token, ` +
      `${usage.generation_s.toFixed(2)} to the last`,
  };
  return (
    <details class="origin">
      <summary>Origin</summary>
      <dl>
        {Object.entries(rows)
          .filter(([, value]) => value)
          .map(([name, value]) => (
            <>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </>
          ))}
      </dl>
    </details>
  );
}
