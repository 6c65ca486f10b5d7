/** Opens a file in a worker of its own. */

import { FilmError, type Film } from "./film";
import type { Answer } from "./worker";

const MAX_ENCODED_BYTES = 64 * 2 ** 20;

/** Decode a DICOM, PNG or JPEG file. Rejects with `FilmError`. */
export async function openFilm(file: Blob): Promise<Film> {
  if (file.size > MAX_ENCODED_BYTES) {
    throw new FilmError(`This file is larger than ${MAX_ENCODED_BYTES / 2 ** 20} MiB.`);
  }
  const bytes = await file.arrayBuffer();
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  try {
    return await new Promise<Film>((resolve, reject) => {
      worker.onmessage = (event: MessageEvent<Answer>) => {
        if ("film" in event.data) resolve(event.data.film);
        else reject(new FilmError(event.data.message));
      };
      worker.onerror = () => reject(new FilmError("This film could not be decoded."));
      worker.postMessage(bytes, [bytes]);
    });
  } finally {
    worker.terminate();
  }
}
