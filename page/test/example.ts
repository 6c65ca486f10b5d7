/** A reading for tests. */

import type { Finding, Reading } from "../src/reading";

export function makeFinding(label: string, changes: Partial<Finding> = {}): Finding {
  return { label, status: "present", in_answer: true, evidence: [], probability: null, ...changes };
}

export function makeReading(changes: Partial<Reading> = {}): Reading {
  return {
    schema: "cxr-reason/reading/5",
    outcome: "complete",
    issues: [],
    findings: [],
    contradictions: [],
    differential: [],
    unknown_labels: [],
    reasoning: "The heart is large.",
    answer: "Cardiomegaly",
    text: "<think>The heart is large.</think>\n<answer>Cardiomegaly</answer>",
    traces: [
      {
        text: "<think>The heart is large.</think>\n<answer>Cardiomegaly</answer>",
        finish_reason: "stop",
        outcome: "complete",
      },
    ],
    film: { image_digest: "ab".repeat(32), flags: [] },
    usage: {
      prompt_tokens: 1,
      completion_tokens: 1,
      queue_s: 0,
      time_to_first_token_s: 0,
      generation_s: 0,
    },
    provenance: {
      software_version: "0",
      backend: "onnx",
      precision: "fp32",
      checkpoint_digest: "cd".repeat(32),
      engine_digest: "ef".repeat(32),
      model_notice: "",
      num_traces: 1,
      temperature: 0,
      seed: 0,
      calibration: "",
    },
    ...changes,
  };
}
