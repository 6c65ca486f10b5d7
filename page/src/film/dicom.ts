/** DICOM bytes → `Film`. Only what the display needs is read from the header. */

import { parseDicom, readPart10Header, type DataSet } from "dicom-parser";
import { Inflate } from "fflate";

import { decodeFrame, type Layout } from "./codecs";
import { FilmError, type Film } from "./film";
import { isInverted, type GraySteps, type Lut, type WindowFunction } from "./gray";

const MAX_INFLATED_BYTES = 256 * 2 ** 20;
const MAX_PIXELS = 100e6;
const PREAMBLE_BYTES = 128;
const META_START = [2, 0, 0, 0, 0x55, 0x4c, 4, 0]; // (0002,0000), where a file has no preamble
const BIG_ENDIAN = "1.2.840.10008.1.2.2";

/** Tell whether bytes start as a DICOM file, with or without the preamble. */
export function isDicom(bytes: Uint8Array): boolean {
  const magic = String.fromCharCode(...bytes.subarray(PREAMBLE_BYTES, PREAMBLE_BYTES + 4));
  return magic === "DICM" || hasNoPreamble(bytes);
}

/** Decode one grayscale frame. Throws `FilmError`. */
export async function readDicom(bytes: Uint8Array): Promise<Film> {
  const { data, syntax } = parseHeader(bytes);
  const layout = readLayout(data, syntax);
  const element = data.elements["x7fe00010"];
  if (!element) throw new FilmError("This DICOM file has no pixel data.");
  const raw = element.fragments
    ? joinFragments(data, element.fragments)
    : data.byteArray.subarray(element.dataOffset, element.dataOffset + element.length);
  const decoded = await decodeFrame(raw, syntax, layout);
  if (decoded.length < layout.width * layout.height) {
    throw new FilmError("The pixel data of this DICOM file is damaged or truncated.");
  }
  const orientation = (data.string("x00200020") ?? "").toUpperCase().split("\\");
  return {
    pixels: numberValues(decoded, layout),
    width: layout.width,
    height: layout.height,
    source: "dicom",
    gray: readGray(data, layout),
    orientation: { right: orientation[0] ?? "", bottom: orientation[1] ?? "" },
    view: /\b(PA|AP)\b/.exec((data.string("x00185101") ?? "").toUpperCase())?.[0] ?? "",
    spacing: readSpacing(data),
  };
}

/** Number stored values from 0; bits above the stored ones may hold anything (PS3.5 8.1.1). */
export function numberValues(decoded: ArrayLike<number>, layout: Layout): Uint16Array {
  const mask = 2 ** layout.bits - 1;
  const flip = layout.signed ? 2 ** (layout.bits - 1) : 0;
  const count = layout.width * layout.height;
  const pixels = new Uint16Array(count);
  for (let i = 0; i < count; i++) pixels[i] = (decoded[i]! & mask) ^ flip;
  return pixels;
}

function hasNoPreamble(bytes: Uint8Array): boolean {
  return META_START.every((byte, index) => bytes[index] === byte);
}

function parseHeader(bytes: Uint8Array): { data: DataSet; syntax: string } {
  let whole = bytes;
  if (hasNoPreamble(bytes)) {
    whole = new Uint8Array(bytes.length + PREAMBLE_BYTES + 4);
    whole.set(
      [..."DICM"].map((letter) => letter.charCodeAt(0)),
      PREAMBLE_BYTES,
    );
    whole.set(bytes, PREAMBLE_BYTES + 4);
  }
  try {
    // Of a deflated data set the parser keeps no file meta information that can be read.
    const syntax = readPart10Header(whole).string("x00020010") ?? "";
    return { data: parseDicom(whole, { inflater: inflateAfter }), syntax };
  } catch (error) {
    if (error instanceof FilmError) throw error;
    // The parser throws objects whose texts may quote the file.
    throw new FilmError("The header of this DICOM file is damaged or truncated.");
  }
}

/** Return the data set that follows the file meta information, inflated. */
function inflateAfter(bytes: Uint8Array, position: number): Uint8Array {
  const chunks: Uint8Array[] = [];
  let total = 0;
  const inflater = new Inflate((chunk) => {
    total += chunk.length;
    if (total > MAX_INFLATED_BYTES) {
      throw new FilmError("The deflated DICOM data set is too large to show.");
    }
    chunks.push(chunk);
  });
  const step = 65536;
  for (let at = position; at < bytes.length; at += step) {
    inflater.push(bytes.subarray(at, at + step), at + step >= bytes.length);
  }
  return concatenate(chunks);
}

function readLayout(data: DataSet, syntax: string): Layout {
  const [samples, height, width, allocated, bits, representation] = [
    "x00280002",
    "x00280010",
    "x00280011",
    "x00280100",
    "x00280101",
    "x00280103",
  ].map((tag) => data.uint16(tag));
  const photometric = (data.string("x00280004") ?? "").toUpperCase();
  if (!width || !height || !allocated || !bits) {
    throw new FilmError("This DICOM file is not an image, or its header is damaged.");
  }
  if (samples !== 1 || !photometric.startsWith("MONOCHROME")) {
    throw new FilmError("This DICOM image is in colour; open one grayscale radiograph.");
  }
  if ((data.intString("x00280008") ?? 1) > 1) {
    throw new FilmError("This DICOM file has more than one frame; open one radiograph.");
  }
  if ((allocated !== 8 && allocated !== 16) || bits < 8 || bits > allocated) {
    throw new FilmError(
      `This DICOM file stores ${bits} bits in ${allocated}; 8 to 16 in 8 or 16 can be shown.`,
    );
  }
  if (width * height > MAX_PIXELS) {
    throw new FilmError(`This film has more than ${MAX_PIXELS / 1e6} megapixels.`);
  }
  return {
    width,
    height,
    allocated,
    bits,
    signed: representation === 1,
    bigEndian: syntax === BIG_ENDIAN,
  };
}

function readGray(data: DataSet, layout: Layout): GraySteps {
  const slope = number(data, "x00281053") ?? 1;
  const intercept = number(data, "x00281052") ?? 0;
  const modalityLut = readLut(data, "x00283000", layout.signed);
  const lowest = intercept + Math.min(slope * (2 ** layout.bits - 1), 0);
  const center = number(data, "x00281050");
  const width = number(data, "x00281051");
  const hasWindow = center !== undefined && width !== undefined && width > 0;
  return {
    bits: layout.bits,
    signed: layout.signed,
    inverted: isInverted(
      (data.string("x00280004") ?? "").toUpperCase(),
      (data.string("x20500020") ?? "").toUpperCase(),
    ),
    slope,
    intercept,
    modalityLut,
    voiLut: readLut(data, "x00283010", !modalityLut && (layout.signed || lowest < 0)),
    window: hasWindow ? { center, width, fn: windowFunction(data) } : null,
    padding: readPadding(data, layout),
  };
}

function windowFunction(data: DataSet): WindowFunction {
  const name = (data.string("x00281056") ?? "").toUpperCase();
  return name === "SIGMOID" || name === "LINEAR_EXACT" ? name : "LINEAR";
}

function readLut(data: DataSet, tag: string, signed: boolean): Lut | null {
  const item = data.elements[tag]?.items?.[0]?.dataSet;
  const stored = item?.elements["x00283006"];
  const [count, first, bits] = [0, 1, 2].map((index) => item?.uint16("x00283002", index));
  if (!item || !stored || first === undefined || !bits) return null;
  // An entry count of 0 means 65536: the number does not fit into 16 bits.
  const entries = count || 65536;
  if (stored.length < entries) {
    throw new FilmError("A look-up table of this DICOM file is damaged or truncated.");
  }
  // Tables of up to 8 bits may have one entry to a byte or one to a word.
  const isWide = stored.length >= 2 * entries;
  return {
    first: signed && first >= 32768 ? first - 65536 : first,
    bits,
    values: Uint16Array.from({ length: entries }, (_, index) =>
      isWide ? item.uint16("x00283006", index)! : item.byteArray[stored.dataOffset + index]!,
    ),
  };
}

function readPadding(data: DataSet, layout: Layout): [number, number] | null {
  const ends = ["x00280120", "x00280121"]
    .map((tag) => data.uint16(tag))
    .filter((end) => end !== undefined);
  if (!ends.length) return null;
  const indices = numberValues(ends, { ...layout, width: ends.length, height: 1 });
  return [Math.min(...indices), Math.max(...indices)];
}

/** Spacing and its plane, by the rules of PS3.3 10.7.1.3, as `cxr_reason/dicom.py` has them. */
function readSpacing(data: DataSet): Film["spacing"] {
  const pixel = pair(data, "x00280030");
  const imager = pair(data, "x00181164");
  const isCorrected = imager && pixel && (pixel[0] !== imager[0] || pixel[1] !== imager[1]);
  if (pixel && (data.string("x00280a02") || isCorrected)) {
    return { mm: pixel[1], plane: "calibrated" };
  }
  return imager ? { mm: imager[1], plane: "detector" } : null;
}

function pair(data: DataSet, tag: string): [number, number] | null {
  const [first, second] = [number(data, tag, 0), number(data, tag, 1)];
  return first && second && first > 0 && second > 0 ? [first, second] : null;
}

function number(data: DataSet, tag: string, index = 0): number | undefined {
  const value = data.floatString(tag, index);
  return value !== undefined && Number.isFinite(value) ? value : undefined;
}

function joinFragments(
  data: DataSet,
  fragments: readonly { position: number; length: number }[],
): Uint8Array {
  return concatenate(
    fragments.map(({ position, length }) => data.byteArray.slice(position, position + length)),
  );
}

function concatenate(chunks: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    joined.set(chunk, at);
    at += chunk.length;
  }
  return joined;
}
