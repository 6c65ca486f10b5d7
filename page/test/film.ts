/** Films for tests. */

import type { Film } from "../src/film/film";

/** Return a film of 8 bits that is shown as it is stored. */
export function makeFilm(changes: Partial<Film> = {}): Film {
  return {
    pixels: Uint16Array.of(0, 255),
    width: 2,
    height: 1,
    aspect: 1,
    table: Float32Array.from({ length: 256 }, (_, index) => index / 255),
    values: Float32Array.from({ length: 256 }, (_, index) => index),
    window: { center: 127.5, width: 255, fn: "LINEAR_EXACT" },
    throughLut: false,
    inverted: false,
    bits: 8,
    source: "png",
    digest: "ab".repeat(32),
    rightEdge: "",
    view: "",
    flags: [],
    spacing: null,
    ...changes,
  };
}
