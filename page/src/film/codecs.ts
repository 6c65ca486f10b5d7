/** Encoded frames of DICOM → stored values. The codecs are loaded when a film needs them. */

import { FilmError } from "./film";

/** Image attributes (PS3.3 C.7.6.3) of a frame. */
export interface Layout {
  width: number;
  height: number;
  /** Bits allocated, 8 or 16. */
  allocated: number;
  /** Bits stored. */
  bits: number;
  signed: boolean;
  bigEndian: boolean;
}

type Decoder = (
  frame: Uint8Array,
  layout: Layout,
) => ArrayLike<number> | Promise<ArrayLike<number>>;

const DECODERS: Record<string, Decoder> = {
  "1.2.840.10008.1.2": readNative,
  "1.2.840.10008.1.2.1": readNative,
  "1.2.840.10008.1.2.1.99": readNative,
  "1.2.840.10008.1.2.2": readNative,
  "1.2.840.10008.1.2.4.50": readJpeg,
  "1.2.840.10008.1.2.4.51": readJpeg,
  "1.2.840.10008.1.2.4.57": readJpegLossless,
  "1.2.840.10008.1.2.4.70": readJpegLossless,
  "1.2.840.10008.1.2.4.80": readJpegLs,
  "1.2.840.10008.1.2.4.81": readJpegLs,
  "1.2.840.10008.1.2.4.90": readJpeg2000,
  "1.2.840.10008.1.2.4.91": readJpeg2000,
  "1.2.840.10008.1.2.4.201": readJpeg2000,
  "1.2.840.10008.1.2.4.202": readJpeg2000,
  "1.2.840.10008.1.2.4.203": readJpeg2000,
  "1.2.840.10008.1.2.5": readRle,
};

// A lossy frame may ring past the stored range: masking would turn its brightest pixels black.
const LOSSY = new Set(["50", "51", "81", "91", "203"].map((end) => `1.2.840.10008.1.2.4.${end}`));

// The codecs would write to the console.
const QUIET = { print: () => {}, printErr: () => {} };

/** Decode one frame to at least width × height values. Throws `FilmError`. */
export async function decodeFrame(
  frame: Uint8Array,
  syntax: string,
  layout: Layout,
): Promise<ArrayLike<number>> {
  const decode = DECODERS[syntax];
  if (!decode) {
    throw new FilmError(
      `The page cannot show DICOM with the transfer syntax ${syntax.replace(/[^\d.]/g, "")}. ` +
        "Open the film uncompressed, or as JPEG, JPEG-LS, JPEG 2000 or RLE.",
    );
  }
  let values: ArrayLike<number>;
  try {
    values = await decode(frame, layout);
  } catch (error) {
    if (error instanceof FilmError) throw error;
    throw new FilmError("The compressed pixel data of this DICOM file is damaged or truncated.");
  }
  if (!LOSSY.has(syntax) || layout.signed) return values;
  const top = 2 ** layout.bits - 1;
  return Uint16Array.from(values, (value) => Math.min(Math.max(value, 0), top));
}

function readNative(frame: Uint8Array, layout: Layout): ArrayLike<number> {
  if (layout.allocated === 8) return frame;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const values = new Uint16Array(frame.byteLength >> 1);
  for (let i = 0; i < values.length; i++) values[i] = view.getUint16(2 * i, !layout.bigEndian);
  return values;
}

async function readJpeg(frame: Uint8Array, layout: Layout): Promise<ArrayLike<number>> {
  if (layout.bits > 8) {
    throw new FilmError(
      "The page cannot show 12-bit JPEG (JPEG Extended). The server can still read this film.",
    );
  }
  const { data } = await readPicture(frame);
  return Uint8Array.from({ length: data.length / 4 }, (_, index) => data[4 * index]!);
}

/** Decode a JPEG with the browser's own decoder, without any change of its colours. */
export async function readPicture(bytes: Uint8Array): Promise<ImageData> {
  const blob = new Blob([bytes as Uint8Array<ArrayBuffer>]);
  const picture = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(picture, 0, 0);
  return context.getImageData(0, 0, picture.width, picture.height);
}

async function readJpegLossless(frame: Uint8Array, layout: Layout): Promise<ArrayLike<number>> {
  const { Decoder } = await import("jpeg-lossless-decoder-js");
  const buffer = frame.buffer as ArrayBuffer;
  const bytesAllocated = layout.allocated / 8;
  return new Decoder().decode(buffer, frame.byteOffset, frame.byteLength, bytesAllocated);
}

async function readJpegLs(frame: Uint8Array, layout: Layout): Promise<ArrayLike<number>> {
  const [{ default: load }, { default: wasm }] = await Promise.all([
    import("@cornerstonejs/codec-charls/decodewasmjs"),
    import("@cornerstonejs/codec-charls/decodewasm?url"),
  ]);
  const codec = await load({ locateFile: () => wasm, ...QUIET });
  return runCodec(new codec.JpegLSDecoder(), frame, layout);
}

async function readJpeg2000(frame: Uint8Array, layout: Layout): Promise<ArrayLike<number>> {
  const [{ default: load }, { default: wasm }] = await Promise.all([
    import("@cornerstonejs/codec-openjpeg/decodewasmjs"),
    import("@cornerstonejs/codec-openjpeg/decodewasm?url"),
  ]);
  const codec = await load({ locateFile: () => wasm, ...QUIET });
  return runCodec(new codec.J2KDecoder(), frame, layout);
}

function runCodec(decoder: WasmDecoder, frame: Uint8Array, layout: Layout): ArrayLike<number> {
  decoder.getEncodedBuffer(frame.length).set(frame);
  decoder.decode();
  const info = decoder.getFrameInfo();
  if (info.width !== layout.width || info.height !== layout.height || info.componentCount !== 1) {
    throw new FilmError("The compressed pixel data and the header disagree about the size.");
  }
  const decoded = decoder.getDecodedBuffer().slice();
  return info.bitsPerSample > 8 ? new Uint16Array(decoded.buffer) : decoded;
}

/** RLE (PS3.5 annex G): one run of segments, the most significant byte first. */
export function readRle(frame: Uint8Array, layout: Layout): ArrayLike<number> {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const count = layout.width * layout.height;
  const segments = layout.allocated / 8;
  if (view.getUint32(0, true) !== segments) {
    throw new FilmError("The RLE pixel data and the header disagree about the bits.");
  }
  const values = new Uint16Array(count);
  for (let segment = 0; segment < segments; segment++) {
    const bytes = new Uint8Array(count);
    let at = view.getUint32(4 + 4 * segment, true);
    let filled = 0;
    while (filled < count) {
      const control = view.getInt8(at++);
      if (control >= 0) {
        const part = frame.subarray(at, at + control + 1).subarray(0, count - filled);
        if (!part.length) throw new RangeError("truncated");
        bytes.set(part, filled);
        filled += part.length;
        at += control + 1;
      } else if (control !== -128) {
        bytes.fill(view.getUint8(at++), filled, filled + 1 - control);
        filled += 1 - control;
      }
    }
    for (let i = 0; i < count; i++) values[i] = (values[i]! << 8) | bytes[i]!;
  }
  return values;
}
