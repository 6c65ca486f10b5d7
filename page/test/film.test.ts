import { encode } from "fast-png";
import { deflateSync } from "fflate";
import { describe, expect, it } from "vitest";

import { readRle, type Layout } from "../src/film/codecs";
import { isDicom, numberValues, readDicom } from "../src/film/dicom";
import { readPng, toGray } from "../src/film/raster";

const LAYOUT: Layout = {
  width: 2,
  height: 2,
  allocated: 16,
  bits: 12,
  signed: false,
  bigEndian: false,
};
const EXPLICIT = "1.2.840.10008.1.2.1";
const DEFLATED = "1.2.840.10008.1.2.1.99";

/** Return one element in explicit VR little endian. */
function element(tag: number, vr: string, value: string | Uint8Array): Uint8Array {
  const raw = typeof value === "string" ? new TextEncoder().encode(value) : value;
  const body = new Uint8Array(raw.length + (raw.length % 2));
  body.set(raw);
  const isLong = vr === "OW";
  const head = new DataView(new ArrayBuffer(isLong ? 12 : 8));
  head.setUint16(0, tag >>> 16, true);
  head.setUint16(2, tag & 0xffff, true);
  head.setUint8(4, vr.charCodeAt(0));
  head.setUint8(5, vr.charCodeAt(1));
  if (isLong) head.setUint32(8, body.length, true);
  else head.setUint16(6, body.length, true);
  return join([new Uint8Array(head.buffer), body]);
}

function word(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8);
}

function join(parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function makeDicom(syntax = EXPLICIT, changes: Record<number, Uint8Array> = {}): Uint8Array {
  const elements: Record<number, Uint8Array> = {
    0x00200020: element(0x00200020, "CS", "L\\F"),
    0x00280002: element(0x00280002, "US", word(1)),
    0x00280004: element(0x00280004, "CS", "MONOCHROME1"),
    0x00280010: element(0x00280010, "US", word(2)),
    0x00280011: element(0x00280011, "US", word(2)),
    0x00280030: element(0x00280030, "DS", "0.000\\0.000"),
    0x00280100: element(0x00280100, "US", word(16)),
    0x00280101: element(0x00280101, "US", word(12)),
    0x00280103: element(0x00280103, "US", word(0)),
    0x00281050: element(0x00281050, "DS", "2048\\100"),
    0x00281051: element(0x00281051, "DS", "4096\\50"),
    0x7fe00010: element(0x7fe00010, "OW", join([0, 1, 0xf002, 4095].map(word))),
    ...changes,
  };
  const data = join(
    Object.keys(elements)
      .map(Number)
      .sort((a, b) => a - b)
      .map((tag) => elements[tag]!),
  );
  const meta = element(0x00020010, "UI", syntax);
  const length = element(0x00020000, "UL", Uint8Array.of(meta.length, 0, 0, 0));
  const start = new Uint8Array(132);
  start.set(new TextEncoder().encode("DICM"), 128);
  return join([start, length, meta, syntax === DEFLATED ? deflateSync(data) : data]);
}

describe("DICOM", () => {
  it("is read with its gray values, window and orientation", async () => {
    const film = await readDicom(makeDicom());
    // Bits above the stored ones are not part of the value.
    expect([...film.pixels]).toEqual([0, 1, 2, 4095]);
    expect(film.gray).toMatchObject({
      bits: 12,
      inverted: true,
      window: { center: 2048, width: 4096, fn: "LINEAR" },
    });
    expect(film.orientation).toEqual({ right: "L", bottom: "F" });
    expect(film.spacing).toBeNull();
  });

  it("is read without its preamble", async () => {
    const bare = makeDicom().slice(132);
    expect(isDicom(bare)).toBe(true);
    expect((await readDicom(bare)).width).toBe(2);
  });

  it("is read deflated", async () => {
    expect([...(await readDicom(makeDicom(DEFLATED))).pixels]).toEqual([0, 1, 2, 4095]);
  });

  it.each([
    ["without pixels", { 0x7fe00010: new Uint8Array() }, /no pixel data/],
    ["with too few pixels", { 0x7fe00010: element(0x7fe00010, "OW", word(1)) }, /truncated/],
    ["in colour", { 0x00280002: element(0x00280002, "US", word(3)) }, /colour/],
    ["without rows", { 0x00280010: new Uint8Array() }, /not an image/],
    ["with frames", { 0x00280008: element(0x00280008, "IS", "2") }, /one frame/],
  ])("%s is refused with a reason", async (_, changes, reason) => {
    await expect(readDicom(makeDicom(EXPLICIT, changes))).rejects.toThrow(reason);
  });

  it("of an unknown transfer syntax is refused by its name", async () => {
    const syntax = "1.2.840.10008.1.2.4.110";
    await expect(readDicom(makeDicom(syntax))).rejects.toThrow(syntax);
  });

  it("that is damaged is refused without a word of its content", async () => {
    const damaged = makeDicom().slice(0, 180);
    await expect(readDicom(damaged)).rejects.toThrow(/^The header|^This DICOM/);
  });
});

it("numbers signed values from 0", () => {
  const signed = { ...LAYOUT, signed: true };
  expect([...numberValues([-2048, -1, 0, 2047], signed)]).toEqual([0, 2047, 2048, 4095]);
});

describe("RLE", () => {
  function encodeRle(...segments: number[][]): Uint8Array {
    const header = new DataView(new ArrayBuffer(64));
    header.setUint32(0, segments.length, true);
    let offset = 64;
    segments.forEach((segment, index) => {
      header.setUint32(4 + 4 * index, offset, true);
      offset += segment.length;
    });
    return join([new Uint8Array(header.buffer), ...segments.map((part) => Uint8Array.from(part))]);
  }

  it("joins the bytes of its segments, high before low", () => {
    const frame = encodeRle([256 - 3, 1], [3, 10, 20, 30, 40]);
    expect([...Array.from(readRle(frame, LAYOUT))]).toEqual([266, 276, 286, 296]);
  });

  it("that ends early is an error, not black pixels", () => {
    expect(() => readRle(encodeRle([256 - 3, 1], [1, 10, 20]), LAYOUT)).toThrow();
  });
});

describe("PNG", () => {
  it("keeps 16 bits", () => {
    const data = Uint16Array.of(0, 300, 65535, 7);
    const film = readPng(encode({ width: 2, height: 2, data, depth: 16, channels: 1 }));
    expect([...film.pixels]).toEqual([...data]);
    expect(film.gray.bits).toBe(16);
  });

  it("of one bit is black and white", () => {
    const film = readPng(
      encode({ width: 3, height: 1, data: Uint8Array.of(0b10100000), depth: 1, channels: 1 }),
    );
    expect([...film.pixels]).toEqual([255, 0, 255]);
  });

  it("that is cut is refused", () => {
    const whole = encode({ width: 2, height: 2, data: new Uint8Array(4), depth: 8, channels: 1 });
    expect(() => readPng(whole.slice(0, 40))).toThrow(/damaged/);
  });
});

it("turns colour into luma and ignores transparency", () => {
  expect([...toGray([255, 0, 0, 0, 10, 10, 10, 255], 4)]).toEqual([76, 10]);
});
