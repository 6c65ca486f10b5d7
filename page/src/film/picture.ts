/** The answer of `POST /v1/film` → `Film`. Its form is described in docs/gateway.md. */

import type { Film } from "./film";
import type { WindowFunction } from "./gray";

const MAGIC = 0x46525843; // "CXRF", little endian
const FORMAT = "cxr-reason/film/1";

interface Head {
  format: string;
  height: number;
  width: number;
  entries: number;
  row_to_column_spacing: number;
  right_edge: Film["rightEdge"];
  window: {
    center: number;
    width: number;
    function: WindowFunction;
    through_lut: boolean;
    inverted: boolean;
  };
  film: {
    image_digest: string;
    source: Film["source"];
    bits_stored: number;
    view: string | null;
    flags: string[];
    pixel_spacing_mm: [number, number] | null;
    spacing_kind: "calibrated" | "detector" | "unknown";
  };
}

/** Read an answer; its arrays become views of it. Throws where it is not such an answer. */
export function readPicture(answer: ArrayBuffer): Film {
  const view = new DataView(answer);
  if (view.getUint32(0, true) !== MAGIC) throw new TypeError("not a film");
  const start = 8 + view.getUint32(4, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(answer, 8, start - 8))) as Head;
  if (head.format !== FORMAT) throw new TypeError("not a film of this format");
  const { entries, height, width, film } = head;
  const spacing = film.pixel_spacing_mm;
  const plane = film.spacing_kind;
  return {
    table: new Float32Array(answer, start, entries),
    values: new Float32Array(answer, start + 4 * entries, entries),
    pixels: new Uint16Array(answer, start + 8 * entries, height * width),
    height,
    width,
    aspect: head.row_to_column_spacing,
    window: { center: head.window.center, width: head.window.width, fn: head.window.function },
    throughLut: head.window.through_lut,
    inverted: head.window.inverted,
    bits: film.bits_stored,
    source: film.source,
    digest: film.image_digest,
    rightEdge: head.right_edge,
    view: film.view ?? "",
    flags: film.flags,
    spacing: spacing && plane !== "unknown" ? { mm: spacing[1], plane } : null,
  };
}
