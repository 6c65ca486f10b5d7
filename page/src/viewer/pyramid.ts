/** Halved copies of a film, so that drawing costs what the screen shows and not what the film has. */

export interface Level {
  pixels: Uint16Array;
  width: number;
  height: number;
}

export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Return a level of half the size: means of 2 × 2 stored values, of fewer at an odd edge. */
export function halve(level: Level): Level {
  const { pixels, width, height } = level;
  const half = { width: (width + 1) >> 1, height: (height + 1) >> 1 };
  const out = new Uint16Array(half.width * half.height);
  for (let y = 0; y < half.height; y++) {
    const upper = 2 * y * width;
    const lower = Math.min(2 * y + 1, height - 1) * width;
    for (let x = 0; x < half.width; x++) {
      const left = 2 * x;
      const right = Math.min(left + 1, width - 1);
      const sum =
        pixels[upper + left]! +
        pixels[upper + right]! +
        pixels[lower + left]! +
        pixels[lower + right]!;
      out[y * half.width + x] = (sum + 2) >> 2;
    }
  }
  return { pixels: out, ...half };
}

/** Return how often a film is halved for a scale (screen pixels per film pixel). */
export function levelFor(scale: number): number {
  return Math.max(0, Math.floor(Math.log2(1 / scale) + 1e-9));
}

/** Map a part of a level through gray levels 0..255, as opaque RGBA. */
export function paint(level: Level, rect: Rect, levels: Uint8Array): ImageData {
  const image = new ImageData(rect.width, rect.height);
  const out = new Uint32Array(image.data.buffer);
  for (let y = 0, at = 0; y < rect.height; y++) {
    const row = (rect.y + y) * level.width + rect.x;
    for (let x = 0; x < rect.width; x++) {
      out[at++] = 0xff000000 | (levels[level.pixels[row + x]!]! * 0x010101);
    }
  }
  return image;
}
