import { describe, expect, it } from "vitest";

import { readPicture } from "../src/film/picture";

const HEAD = {
  format: "cxr-reason/film/1",
  height: 1,
  width: 3,
  entries: 2,
  row_to_column_spacing: 2,
  right_edge: "L",
  window: { center: 1, width: 2, function: "LINEAR", through_lut: false, inverted: true },
  film: {
    image_digest: "ab",
    source: "dicom",
    bits_stored: 8,
    view: null,
    flags: ["view_unknown"],
    pixel_spacing_mm: [0.2, 0.1],
    spacing_kind: "detector",
  },
};

function makeAnswer(head: object = HEAD): ArrayBuffer {
  const text = JSON.stringify(head);
  const json = new TextEncoder().encode(text.padEnd(4 * Math.ceil(text.length / 4)));
  const answer = new ArrayBuffer(8 + json.length + 16 + 6);
  const bytes = new Uint8Array(answer);
  bytes.set(new TextEncoder().encode("CXRF"));
  new DataView(answer).setUint32(4, json.length, true);
  bytes.set(json, 8);
  new Float32Array(answer, 8 + json.length, 4).set([1, 0, -7, 9]);
  new Uint16Array(answer, 24 + json.length, 3).set([0, 1, 65535]);
  return answer;
}

describe("the answer of the server", () => {
  it("is read into a film", () => {
    expect(readPicture(makeAnswer())).toEqual({
      table: Float32Array.of(1, 0),
      values: Float32Array.of(-7, 9),
      pixels: Uint16Array.of(0, 1, 65535),
      width: 3,
      height: 1,
      aspect: 2,
      window: { center: 1, width: 2, fn: "LINEAR" },
      throughLut: false,
      inverted: true,
      bits: 8,
      source: "dicom",
      digest: "ab",
      rightEdge: "L",
      view: "",
      flags: ["view_unknown"],
      spacing: { mm: 0.1, plane: "detector" },
    });
  });

  it.each([
    ["empty", new ArrayBuffer(0)],
    ["something else", new TextEncoder().encode("<html></html>").buffer as ArrayBuffer],
    ["cut", makeAnswer().slice(0, -1)],
    ["of another format", makeAnswer({ ...HEAD, format: "cxr-reason/film/9" })],
  ])("that is %s is refused", (_, answer) => {
    expect(() => readPicture(answer)).toThrow();
  });
});
