/**
 * A region in words → an outline on a frontal film.
 *
 * The reading names regions in words and measures none: the outline is a schematic place for the
 * words of the text, and the page says so beside it.
 */

/** Edges as shares of the film's width and height. */
export interface Zone {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

// For the patient's right lung, which is at the left of the image. The left lung is its mirror image.
const LUNG: Zone = { left: 0.08, top: 0.08, right: 0.46, bottom: 0.82 };
const ZONES: Record<string, Zone> = {
  apex: { left: 0.18, top: 0.06, right: 0.44, bottom: 0.22 },
  "upper zone": { left: 0.12, top: 0.1, right: 0.46, bottom: 0.36 },
  "middle zone": { left: 0.09, top: 0.34, right: 0.46, bottom: 0.58 },
  "lower zone": { left: 0.07, top: 0.55, right: 0.46, bottom: 0.82 },
  base: { left: 0.07, top: 0.66, right: 0.46, bottom: 0.84 },
  hilum: { left: 0.3, top: 0.36, right: 0.46, bottom: 0.56 },
  "costophrenic angle": { left: 0.04, top: 0.7, right: 0.24, bottom: 0.88 },
  fissure: { left: 0.09, top: 0.4, right: 0.46, bottom: 0.58 },
  diaphragm: { left: 0.07, top: 0.7, right: 0.46, bottom: 0.88 },
  ribs: LUNG,
  clavicle: { left: 0.12, top: 0.07, right: 0.48, bottom: 0.2 },
};
const MIDLINE: Record<string, Zone> = {
  retrocardiac: { left: 0.5, top: 0.52, right: 0.68, bottom: 0.8 },
  mediastinum: { left: 0.38, top: 0.08, right: 0.62, bottom: 0.78 },
  spine: { left: 0.44, top: 0.04, right: 0.56, bottom: 0.96 },
};

/** Whether the right edge of a film is the patient's right; films are shown as from in front. */
export function isMirrored(film: { rightEdge: string }): boolean {
  return film.rightEdge === "R";
}

/** Return the outlines for a side and a region as `Evidence` names them; none where neither is. */
export function zonesOf(side: string | null, region: string | null, mirrored: boolean): Zone[] {
  const middle = region === null ? undefined : MIDLINE[region];
  if (middle) return [mirrored ? mirror(middle) : middle];
  const zone = region === null ? (side ? LUNG : undefined) : ZONES[region];
  if (!zone) return [];
  const sides = side === "left" ? [true] : side === "right" ? [false] : [false, true];
  return sides.map((isLeft) => (isLeft === mirrored ? zone : mirror(zone)));
}

function mirror(zone: Zone): Zone {
  return { ...zone, left: 1 - zone.right, right: 1 - zone.left };
}
