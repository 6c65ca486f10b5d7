/** Decodes a film away from the page: a large or hostile file cannot make the page hang. */

import { isDicom, readDicom } from "./dicom";
import { FilmError, type Film } from "./film";
import { isJpeg, isPng, readJpegFile, readPng } from "./raster";

export type Answer = { film: Film } | { message: string };

self.onmessage = async (event: MessageEvent<ArrayBuffer>) => {
  try {
    const film = await readFilm(new Uint8Array(event.data));
    self.postMessage({ film } satisfies Answer, { transfer: [film.pixels.buffer] });
  } catch (error) {
    const message = error instanceof FilmError ? error.message : "This film could not be decoded.";
    self.postMessage({ message } satisfies Answer);
  }
};

async function readFilm(bytes: Uint8Array): Promise<Film> {
  if (isDicom(bytes)) return readDicom(bytes);
  if (isPng(bytes)) return readPng(bytes);
  if (isJpeg(bytes)) return readJpegFile(bytes);
  throw new FilmError("This file is neither DICOM, PNG nor JPEG.");
}
