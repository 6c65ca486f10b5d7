import { describe, expect, it } from "vitest";

import { displayLevels, firstView, type GrayView } from "../src/film/gray";
import { makeFilm } from "./film";

function byWindow(window: GrayView["window"], inverted = false): Uint8Array {
  return displayLevels(makeFilm(), { byTable: false, window, inverted });
}

describe("the first view", () => {
  it("is the server's table, whatever the window says", () => {
    const table = makeFilm().table.map((shown) => shown ** 2);
    const film = makeFilm({ table, window: { center: 1, width: 2, fn: "LINEAR" } });
    const shown = displayLevels(film, firstView(film));
    expect([shown[0], shown[128], shown[255]]).toEqual([0, 64, 255]);
  });

  it("of an inverted film is its table, and the other way round after a swap", () => {
    const table = makeFilm().table.map((shown) => 1 - shown);
    const film = makeFilm({ table, inverted: true });
    const first = firstView(film);
    expect([...displayLevels(film, first).slice(0, 2)]).toEqual([255, 254]);
    expect([...displayLevels(film, { ...first, inverted: false }).slice(0, 2)]).toEqual([0, 1]);
  });
});

describe("a window", () => {
  it("follows PS3.3 C.11.2.1.2 for LINEAR", () => {
    const shown = byWindow({ center: 128, width: 101, fn: "LINEAR" });
    expect([shown[77], shown[78], shown[127], shown[128], shown[177], shown[178]]).toEqual([
      0, 1, 126, 129, 254, 255,
    ]);
  });

  it("is a threshold for a LINEAR width of 1", () => {
    const shown = byWindow({ center: 100, width: 1, fn: "LINEAR" });
    expect([shown[99], shown[100]]).toEqual([0, 255]);
  });

  it("is half at the centre of a SIGMOID", () => {
    const shown = byWindow({ center: 100, width: 50, fn: "SIGMOID" });
    expect(shown[100]).toBe(128);
    expect(shown[0]).toBe(0);
  });

  it("is over the values and not over what is stored", () => {
    const values = makeFilm().values.map((value) => value / 1000 - 1);
    const window = { center: -0.9, width: 0.1, fn: "LINEAR_EXACT" as const };
    const shown = displayLevels(makeFilm({ values }), { byTable: false, window, inverted: false });
    expect([shown[50], shown[100], shown[150]]).toEqual([0, 128, 255]);
  });

  it("is inverted at the end", () => {
    const shown = byWindow({ center: 127.5, width: 255, fn: "LINEAR_EXACT" }, true);
    expect([shown[0], shown[255]]).toEqual([255, 0]);
  });
});
