/** One film as the page holds it. Nothing in it identifies a patient. */

import type { GraySteps } from "./gray";

export interface Film {
  /** Stored values numbered from 0, row by row: a signed value v is v + 2^(bits - 1). */
  pixels: Uint16Array;
  width: number;
  height: number;
  source: "dicom" | "png" | "jpeg";
  gray: GraySteps;
  /** Patient directions of the right and of the lower edge (PS3.3 C.7.6.1.1.1), "" if unknown. */
  orientation: { right: string; bottom: string };
  /** "PA", "AP" or "" where the header does not say. */
  view: string;
  /** Distance between columns in mm, and in which plane it was measured; null where unknown. */
  spacing: { mm: number; plane: "calibrated" | "detector" } | null;
}

/** A film that cannot be shown. The message says what was given and what to do. */
export class FilmError extends Error {}
