/**
 * The grayscale pipeline of DICOM: stored value → modality value → shown intensity.
 *
 * The same steps, in the same order and with the same fallback as `cxr_reason/display_table.py`, so
 * that the first view of a film is what the model is given. `tests/page/test_page.py` compares the two.
 */

export interface Lut {
  /** Input that maps to the first entry. */
  first: number;
  /** Bits of an entry. */
  bits: number;
  values: Uint16Array;
}

export type WindowFunction = "LINEAR" | "LINEAR_EXACT" | "SIGMOID";

/** A window in modality values (PS3.3 C.11.2.1.2). */
export interface Window {
  center: number;
  width: number;
  fn: WindowFunction;
}

export interface GraySteps {
  bits: number;
  signed: boolean;
  inverted: boolean;
  slope: number;
  intercept: number;
  modalityLut: Lut | null;
  voiLut: Lut | null;
  /** Null where the header has none: it is estimated. */
  window: Window | null;
  /** First and last stored index that mark "no image here". */
  padding: [number, number] | null;
}

/** How a film is shown at a moment: through the header's table, or through a window. */
export interface GrayView {
  voiLut: Lut | null;
  window: Window;
  inverted: boolean;
}

const LOW_SHARE = 0.005;
const HIGH_SHARE = 0.995;

/** Decide the one inversion: Presentation LUT Shape alone where present, else MONOCHROME1. */
export function isInverted(photometric: string, shape: string): boolean {
  return shape === "INVERSE" || shape === "IDENTITY"
    ? shape === "INVERSE"
    : photometric === "MONOCHROME1";
}

/** Return the modality value of each stored value, [2^bits]. */
export function modalityValues(gray: GraySteps): Float64Array {
  const offset = gray.signed ? 2 ** (gray.bits - 1) : 0;
  const lut = gray.modalityLut;
  return Float64Array.from({ length: 2 ** gray.bits }, (_, index) =>
    lut ? lookUp(lut, index - offset) : (index - offset) * gray.slope + gray.intercept,
  );
}

/** Return the view that the header asks for. */
export function headerView(
  gray: GraySteps,
  values: Float64Array,
  pixels: Uint16Array,
  width: number,
): GrayView {
  const lut = gray.voiLut;
  const window =
    gray.window ??
    (lut
      ? rangeWindow(lut.first, lut.first + lut.values.length - 1)
      : rangeWindow(...estimateRange(gray, values, pixels, width)));
  return { voiLut: lut, window, inverted: gray.inverted };
}

/** Return the gray level 0..255 of each stored value, [2^bits]. */
export function displayLevels(values: Float64Array, view: GrayView): Uint8Array {
  const show = view.voiLut ? throughLut(view.voiLut) : throughWindow(view.window);
  return Uint8Array.from(values, (value) => {
    const shown = show(value);
    return Math.round(255 * (view.inverted ? 1 - shown : shown));
  });
}

function throughLut(lut: Lut): (value: number) => number {
  const top = 2 ** lut.bits - 1;
  return (value) => Math.min(lookUp(lut, value) / top, 1);
}

function throughWindow(window: Window): (value: number) => number {
  const { fn } = window;
  if (fn === "SIGMOID") {
    return (value) => 1 / (1 + Math.exp((-4 * (value - window.center)) / window.width));
  }
  const center = fn === "LINEAR" ? window.center - 0.5 : window.center;
  const width = fn === "LINEAR" ? window.width - 1 : window.width;
  const low = center - width / 2;
  // A range without extent is a threshold: PS3.3 C.11.2.1.2.1 for a width of 1.
  if (width <= 0) return (value) => (value > low ? 1 : 0);
  return (value) => Math.min(Math.max((value - low) / width, 0), 1);
}

function rangeWindow(low: number, high: number): Window {
  return { center: (low + high) / 2, width: high - low, fn: "LINEAR_EXACT" };
}

function lookUp(lut: Lut, value: number): number {
  const index = Math.round(value) - lut.first;
  return lut.values[Math.min(Math.max(index, 0), lut.values.length - 1)]!;
}

/** Return robust ends of the values, constant borders and padding left out. */
function estimateRange(
  gray: GraySteps,
  values: Float64Array,
  pixels: Uint16Array,
  width: number,
): [number, number] {
  const [left, top, right, bottom] = withoutConstantBorder(pixels, width);
  const counts = new Float64Array(values.length);
  for (let y = top; y < bottom; y++) {
    for (let i = y * width + left, end = y * width + right; i < end; i++) counts[pixels[i]!]!++;
  }
  if (gray.padding) counts.fill(0, gray.padding[0], gray.padding[1] + 1);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const order = Uint32Array.from(values.keys()).sort((a, b) => values[a]! - values[b]! || a - b);
  return [valueAt(LOW_SHARE * total), valueAt(HIGH_SHARE * total)];

  function valueAt(rank: number): number {
    let seen = 0;
    for (const index of order) {
      seen += counts[index]!;
      if (seen >= rank) return values[index]!;
    }
    return values[order.at(-1)!]!;
  }
}

/** Return left, top, right and bottom of the film without outer columns and rows of one value. */
function withoutConstantBorder(
  pixels: Uint16Array,
  width: number,
): [number, number, number, number] {
  const height = pixels.length / width;
  const columns = variedRange(width, (x) => isVaried(0, height, (y) => pixels[y * width + x]!));
  if (!columns) return [0, 0, width, height];
  const [left, right] = columns;
  const rows = variedRange(height, (y) => isVaried(left, right, (x) => pixels[y * width + x]!));
  return rows ? [left, rows[0], right, rows[1]] : [left, 0, right, height];
}

function variedRange(length: number, varied: (at: number) => boolean): [number, number] | null {
  let first = 0;
  while (first < length && !varied(first)) first++;
  if (first === length) return null;
  let last = length - 1;
  while (!varied(last)) last--;
  return [first, last + 1];
}

function isVaried(start: number, end: number, at: (index: number) => number): boolean {
  for (let i = start + 1; i < end; i++) if (at(i) !== at(start)) return true;
  return false;
}
