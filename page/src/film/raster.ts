/** PNG and JPEG → `Film`. They are taken to be ready for display, as the server takes them. */

import { convertIndexedToRgb, decode as decodePng } from "fast-png";

import { readPicture } from "./codecs";
import { FilmError, type Film } from "./film";

const PNG_START = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const JPEG_START = [0xff, 0xd8, 0xff];

export function isPng(bytes: Uint8Array): boolean {
  return PNG_START.every((byte, index) => bytes[index] === byte);
}

export function isJpeg(bytes: Uint8Array): boolean {
  return JPEG_START.every((byte, index) => bytes[index] === byte);
}

/** Decode 8 or 16 bits; colour becomes luma and transparency is ignored. Throws `FilmError`. */
export function readPng(bytes: Uint8Array): Film {
  try {
    const png = decodePng(bytes);
    if (png.palette) {
      const colours = convertIndexedToRgb(png);
      const channels = colours.length / (png.width * png.height);
      return makeFilm(toGray(colours, channels), png.width, png.height, 8, "png");
    }
    if (png.depth < 8) {
      const top = 2 ** png.depth - 1;
      const gray = unpackBits(png.data, png.width, png.height, png.depth);
      const levels = gray.map((value) => Math.round((value * 255) / top));
      return makeFilm(levels, png.width, png.height, 8, "png");
    }
    const gray = toGray(png.data, png.channels);
    return makeFilm(gray, png.width, png.height, png.depth === 16 ? 16 : 8, "png");
  } catch {
    throw new FilmError("This PNG file is damaged, truncated or of a kind that cannot be shown.");
  }
}

/** Decode with the browser's decoder. Throws `FilmError`. */
export async function readJpegFile(bytes: Uint8Array): Promise<Film> {
  try {
    const { data, width, height } = await readPicture(bytes);
    return makeFilm(toGray(data, 4), width, height, 8, "jpeg");
  } catch {
    throw new FilmError("This JPEG file is damaged, truncated or of a kind that cannot be shown.");
  }
}

/** Return luma (ITU-R BT.601) in the fixed-point form that Pillow uses. */
export function toGray(data: ArrayLike<number>, channels: number): Uint16Array {
  const gray = new Uint16Array(data.length / channels);
  for (let i = 0, at = 0; i < gray.length; i++, at += channels) {
    gray[i] =
      channels < 3
        ? data[at]!
        : (19595 * data[at]! + 38470 * data[at + 1]! + 7471 * data[at + 2]! + 32768) / 65536;
  }
  return gray;
}

/** Return one value for each pixel of rows that are packed to whole bytes. */
function unpackBits(
  data: ArrayLike<number>,
  width: number,
  height: number,
  depth: number,
): Uint16Array {
  const rowBytes = Math.ceil((width * depth) / 8);
  return Uint16Array.from({ length: width * height }, (_, index) => {
    const bit = (index % width) * depth;
    const byte = data[Math.floor(index / width) * rowBytes + (bit >> 3)]!;
    return (byte >> (8 - depth - (bit & 7))) & (2 ** depth - 1);
  });
}

function makeFilm(
  pixels: Uint16Array,
  width: number,
  height: number,
  bits: number,
  source: "png" | "jpeg",
): Film {
  const top = 2 ** bits - 1;
  return {
    pixels,
    width,
    height,
    source,
    gray: {
      bits,
      signed: false,
      inverted: false,
      slope: 1,
      intercept: 0,
      modalityLut: null,
      voiLut: null,
      window: { center: top / 2, width: top, fn: "LINEAR_EXACT" },
      padding: null,
    },
    orientation: { right: "", bottom: "" },
    view: "",
    spacing: null,
  };
}
