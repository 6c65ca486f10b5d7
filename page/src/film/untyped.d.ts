/** Types of codecs that publish none. */

interface WasmDecoder {
  getEncodedBuffer(length: number): Uint8Array;
  decode(): void;
  getFrameInfo(): { width: number; height: number; bitsPerSample: number; componentCount: number };
  getDecodedBuffer(): Uint8Array;
}

interface WasmOptions {
  locateFile: (name: string) => string;
  print: () => void;
  printErr: () => void;
}

declare module "@cornerstonejs/codec-charls/decodewasmjs" {
  export default function load(
    options: WasmOptions,
  ): Promise<{ JpegLSDecoder: new () => WasmDecoder }>;
}

declare module "@cornerstonejs/codec-openjpeg/decodewasmjs" {
  export default function load(
    options: WasmOptions,
  ): Promise<{ J2KDecoder: new () => WasmDecoder }>;
}

declare module "jpeg-lossless-decoder-js" {
  export class Decoder {
    decode(
      buffer: ArrayBuffer,
      offset: number,
      length: number,
      bytesAllocated: number,
    ): Uint8Array | Uint16Array;
  }
}
