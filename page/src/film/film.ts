/** One film as the page holds it: what the server gives the model. Nothing identifies a patient. */

import type { Window } from "./gray";

export interface Film {
  /** Stored values numbered from 0, row by row: indices into `table` and `values`. */
  pixels: Uint16Array;
  width: number;
  height: number;
  /** How much taller than wide a pixel is. */
  aspect: number;
  /** Display intensity of each stored value: 0 is black, 1 is white. */
  table: Float32Array;
  /** What each stored value means; a window is given in these. */
  values: Float32Array;
  /** The window that gives the table, or one to start from where none does. */
  window: Window;
  /** Whether no window gives the table. */
  throughLut: boolean;
  /** Whether low values are shown bright. */
  inverted: boolean;
  /** Bits of a stored value. */
  bits: number;
  source: "dicom" | "png" | "jpeg";
  /** SHA-256 of the file. */
  digest: string;
  /** The patient's side at the right edge, "" where unknown. */
  rightEdge: "L" | "R" | "";
  /** "PA", "AP" or "" where the header does not say. */
  view: string;
  /** What a reader should know of the file, in the server's words. */
  flags: string[];
  /** Distance between columns in mm, and in which plane it was measured; null where unknown. */
  spacing: { mm: number; plane: "calibrated" | "detector" } | null;
}
