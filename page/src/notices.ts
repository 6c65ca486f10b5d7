/** What a reader must know of a reading, in sentences. */

import type { Reading } from "./reading";

export interface Notice {
  level: "warning" | "note";
  text: string;
}

const OUTCOMES: Record<string, string> = {
  truncated: "The token limit cut the output: what it did not get to say is missing.",
  refused: "The model refused: it does not take this for a frontal chest X-ray.",
  free_text: "The output has no reasoning and answer of its own: it is shown as free text.",
  malformed: "The output is not in the trained form; parts may be missing or doubled.",
};

const ISSUES: Record<string, string> = {
  missing_tag: "A tag that opens or closes the reasoning or the answer is missing.",
  doubled_tag: "The model began its reasoning or its answer more than once.",
  text_outside_tags: "There is text outside of reasoning and answer.",
  empty_answer: "The answer names nothing.",
  no_finding_beside_findings: "The answer says No Finding and names findings as well.",
  language_unknown: "Part of the text is not English: no finding is taken from it.",
};

const FLAGS: Record<string, string> = {
  body_part_unknown: "The file does not say which body part it shows.",
  body_part_placeholder: "The file has a placeholder in place of the body part.",
  view_unknown: "The file does not say whether the film is PA or AP.",
  view_perhaps_lateral: "A description in the file names a lateral view.",
  modality_unusual: "The file names another modality than CR or DX.",
  reoriented: "The film was stored turned or mirrored and was turned upright by its header.",
  orientation_invalid: "The orientation in the file is not one of a frontal film; not used.",
  field_of_view_turned: "The device turned the picture, and the file does not say how it lies.",
  pixels_not_square: "Pixels are not square: the film was resampled to square ones.",
  window_estimated: "The file has no usable window: the display range was estimated from it.",
  voi_lut_ignored: "A look-up table of the file (VOI LUT) could not be used.",
  voi_lut_rescaled: "A look-up table (VOI LUT) uses fewer bits than it declares; scaled.",
  voi_lut_truncated: "A look-up table (VOI LUT) is shorter than declared; its end was held.",
  modality_lut_ignored: "A look-up table of the file (modality LUT) could not be used.",
  modality_lut_rescaled: "A look-up table (modality LUT) has other bits than it declares.",
  modality_lut_truncated: "A look-up table (modality LUT) is shorter than declared.",
  rescale_ignored: "Rescale Slope or Intercept of the file is no number; not used.",
  small_range_stretched: "The picture uses few of its 16 bits: its range was stretched.",
  encoding_repaired: "The encoding of the file breaks the standard; it was read all the same.",
  clipped: "Much of the picture is all black or all white: the window may be wrong.",
  low_contrast: "The picture has little contrast.",
  looks_negative: "The picture may be a negative: air bright, bone dark.",
  looks_turned: "The film seems to lie on its side or upside down.",
  not_frontal_chest: "The picture does not look like a frontal chest film to the model.",
};

const CONTRADICTIONS: Record<string, string> = {
  absent_in_reasoning: "The answer names it; the reasoning only denies it.",
  not_in_answer: "The reasoning states it; the answer leaves it out.",
  view: "The reasoning names another projection (AP or PA) than the header of the file.",
};

/** Return the notices of a reading, the grave ones first. */
export function noticesOf(reading: Reading): Notice[] {
  const warnings = [
    OUTCOMES[reading.outcome],
    ...reading.issues.map((issue) => (issue === "unknown_label" ? undefined : say(ISSUES, issue))),
    reading.unknown_labels.length
      ? `The answer has names that are not among the 14 labels: ${reading.unknown_labels.join(", ")}.`
      : undefined,
    // About no label: shown here, not in the row of a finding.
    ...contradictionsOf(reading, ""),
  ];
  const notes = [
    ...reading.differential.map((item) => `Left open by the text: ${item.findings.join(" or ")}.`),
    ...sayFlags(reading.film?.flags ?? []),
  ];
  const model = reading.provenance.model_notice;
  return [
    ...make("warning", warnings),
    ...make("warning", [model ? `Model: ${model}` : undefined]),
    ...make("note", notes),
  ];
}

/** Return the notices of a film that is not read yet. */
export function filmNotices(flags: string[]): Notice[] {
  return make("note", sayFlags(flags));
}

/** Return the contradictions about one label, in sentences; "": those about none. */
export function contradictionsOf(reading: Reading | null, label: string): string[] {
  const all = reading?.contradictions ?? [];
  return all.filter((item) => item.label === label).map((item) => say(CONTRADICTIONS, item.kind));
}

function sayFlags(flags: string[]): string[] {
  return flags.map((flag) => say(FLAGS, flag));
}

/** A state that this page does not know yet is shown by its name, never left out. */
function say(texts: Record<string, string>, name: string): string {
  return texts[name] ?? name.replaceAll("_", " ");
}

function make(level: Notice["level"], texts: (string | undefined)[]): Notice[] {
  return texts.filter((text) => text !== undefined).map((text) => ({ level, text }));
}
