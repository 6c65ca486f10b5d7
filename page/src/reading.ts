/** The JSON of `cxr_reason.reading.reading.Reading`, as far as the page uses it. */

export type Polarity = "present" | "uncertain" | "absent";

/** A sentence of the reasoning; `start` and `end` count Unicode code points. */
export interface Evidence {
  polarity: Polarity;
  side: string | null;
  region: string | null;
  start: number;
  end: number;
}

export interface Finding {
  label: string;
  status: Polarity;
  in_answer: boolean;
  evidence: Evidence[];
  /** Share of the sampled traces that state it; null with one trace. */
  probability: number | null;
}

export interface Contradiction {
  /** Empty where it is about no label. */
  label: string;
  kind: string;
}

/** A sentence of the reasoning that leaves several findings open. */
export interface Alternatives {
  findings: string[];
  start: number;
  end: number;
}

/** One output of the model, and how it ended. */
export interface TraceRecord {
  text: string;
  finish_reason: "stop" | "length";
  outcome: string;
}

export interface Reading {
  schema: string;
  outcome: string;
  issues: string[];
  findings: Finding[];
  contradictions: Contradiction[];
  differential: Alternatives[];
  unknown_labels: string[];
  reasoning: string;
  answer: string;
  text: string;
  /** All sampled outputs; `text` is that of the first. */
  traces: TraceRecord[];
  film: { image_digest: string; flags: string[] } | null;
  usage: {
    prompt_tokens: number;
    completion_tokens: number;
    queue_s: number;
    time_to_first_token_s: number;
    generation_s: number;
  };
  provenance: {
    software_version: string;
    backend: string;
    precision: string;
    checkpoint_digest: string;
    engine_digest: string;
    model_notice: string;
    num_traces: number;
    temperature: number;
    seed: number;
    calibration: string;
  };
}

export const DISCLAIMER = "Research use only. Not a medical device; not for diagnosis.";

/** `cxr_reason.findings.LABELS`. */
export const LABELS = [
  "Atelectasis",
  "Cardiomegaly",
  "Consolidation",
  "Edema",
  "Enlarged Cardiomediastinum",
  "Fracture",
  "Lung Lesion",
  "Lung Opacity",
  "No Finding",
  "Pleural Effusion",
  "Pleural Other",
  "Pneumonia",
  "Pneumothorax",
  "Support Devices",
];

/** What the shown text says of a finding at its strongest; null where it does not speak of it. */
export function statedIn(finding: Finding): Polarity | null {
  const stated = new Set(finding.evidence.map((item) => item.polarity));
  const order: Polarity[] = ["present", "uncertain", "absent"];
  return order.find((polarity) => stated.has(polarity)) ?? null;
}

/** Places that the evidence names, each once: "left lower zone", "bilateral". */
export function placesOf(finding: Finding): string[] {
  const places = finding.evidence
    .filter((item) => item.polarity !== "absent" || finding.status === "absent")
    .map((item) => [item.side, item.region].filter(Boolean).join(" "));
  return [...new Set(places)].filter(Boolean);
}
