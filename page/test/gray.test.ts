import { describe, expect, it } from "vitest";

import {
  displayLevels,
  headerView,
  isInverted,
  modalityValues,
  type GraySteps,
} from "../src/film/gray";

const STEPS: GraySteps = {
  bits: 8,
  signed: false,
  inverted: false,
  slope: 1,
  intercept: 0,
  modalityLut: null,
  voiLut: null,
  window: null,
  padding: null,
};

function levels(steps: Partial<GraySteps>, pixels = [0, 255], width = pixels.length): Uint8Array {
  const gray = { ...STEPS, ...steps };
  const values = modalityValues(gray);
  return displayLevels(values, headerView(gray, values, Uint16Array.from(pixels), width));
}

describe("modality values", () => {
  it("start at the lowest signed value", () => {
    const values = modalityValues({ ...STEPS, signed: true, slope: 2, intercept: 10 });
    expect([values[0], values[128], values[255]]).toEqual([-246, 10, 264]);
  });

  it("come from the table where there is one, held at its ends", () => {
    const lut = { first: 10, bits: 8, values: Uint16Array.of(5, 7) };
    const values = modalityValues({ ...STEPS, slope: 3, modalityLut: lut });
    expect([values[0], values[10], values[11], values[200]]).toEqual([5, 5, 7, 7]);
  });
});

describe("display levels", () => {
  it("follow PS3.3 C.11.2.1.2 for LINEAR", () => {
    const shown = levels({ window: { center: 128, width: 101, fn: "LINEAR" } });
    expect([shown[77], shown[78], shown[127], shown[128], shown[177], shown[178]]).toEqual([
      0, 1, 126, 129, 254, 255,
    ]);
  });

  it("are a threshold for a LINEAR width of 1", () => {
    const shown = levels({ window: { center: 100, width: 1, fn: "LINEAR" } });
    expect([shown[99], shown[100]]).toEqual([0, 255]);
  });

  it("are half at the centre of a SIGMOID", () => {
    const shown = levels({ window: { center: 100, width: 50, fn: "SIGMOID" } });
    expect(shown[100]).toBe(128);
    expect(shown[0]).toBe(0);
  });

  it("come from a VOI LUT before a window, relative to its bits", () => {
    const voiLut = { first: 0, bits: 10, values: Uint16Array.of(0, 512, 800) };
    const shown = levels({ voiLut, window: { center: 1, width: 2, fn: "LINEAR_EXACT" } });
    expect([shown[0], shown[1], shown[2], shown[9]]).toEqual([0, 128, 199, 199]);
  });

  it("are inverted once, at the end", () => {
    const shown = levels({
      inverted: true,
      window: { center: 127.5, width: 255, fn: "LINEAR_EXACT" },
    });
    expect([shown[0], shown[255]]).toEqual([255, 0]);
  });

  it("are estimated without borders and padding where the header has no window", () => {
    const film = [7, 7, 7, 7, 7, 50, 90, 7, 7, 60, 255, 7, 7, 7, 7, 7];
    const shown = levels({ padding: [255, 255] }, film, 4);
    expect([shown[50], shown[70], shown[90]]).toEqual([0, 128, 255]);
  });
});

it("inverts by the shape alone where there is one", () => {
  expect(isInverted("MONOCHROME1", "")).toBe(true);
  expect(isInverted("MONOCHROME1", "IDENTITY")).toBe(false);
  expect(isInverted("MONOCHROME1", "INVERSE")).toBe(true);
  expect(isInverted("MONOCHROME2", "")).toBe(false);
});
