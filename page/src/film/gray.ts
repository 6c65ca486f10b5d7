/** From stored values to gray levels: by the server's table, or by a window that the reader moves. */

import type { Film } from "./film";

export type WindowFunction = "LINEAR" | "LINEAR_EXACT" | "SIGMOID";

/** A window in modality values (PS3.3 C.11.2.1.2). */
export interface Window {
  center: number;
  width: number;
  fn: WindowFunction;
}

/** How a film is shown at a moment: by its table, as the model is given it, or by a window. */
export interface GrayView {
  byTable: boolean;
  window: Window;
  inverted: boolean;
}

/** Return the view that shows what the model is given. */
export function firstView(film: Film): GrayView {
  return { byTable: true, window: film.window, inverted: film.inverted };
}

/** Return the gray level 0..255 of each stored value. */
export function displayLevels(film: Film, view: GrayView): Uint8Array {
  const show = throughWindow(view.window);
  return Uint8Array.from(film.values, (value, index) => {
    if (!view.byTable) return level(show(value), view.inverted);
    return level(film.table[index]!, view.inverted !== film.inverted);
  });
}

function level(shown: number, inverted: boolean): number {
  return Math.round(255 * (inverted ? 1 - shown : shown));
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
