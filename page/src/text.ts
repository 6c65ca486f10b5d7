/** Text with marked sentences. */

import type { Finding } from "./reading";

export interface Span {
  text: string;
  /** Labels of the findings whose evidence this is. */
  labels: string[];
}

/**
 * Split text where evidence begins and ends.
 *
 * The server counts Unicode code points and JavaScript counts UTF-16 units, so the text is cut as
 * an array of code points.
 */
export function splitByEvidence(text: string, findings: Finding[]): Span[] {
  const points = [...text];
  const marks = findings.flatMap((finding) =>
    finding.evidence.map(({ start, end }) => ({ start, end, label: finding.label })),
  );
  const edges = [0, points.length, ...marks.flatMap(({ start, end }) => [start, end])]
    .filter((edge) => edge <= points.length)
    .sort((a, b) => a - b);
  return [...new Set(edges)].slice(0, -1).map((start, index, starts) => {
    const end = starts[index + 1] ?? points.length;
    const covering = marks.filter((mark) => mark.start <= start && mark.end >= end);
    return {
      text: points.slice(start, end).join(""),
      labels: [...new Set(covering.map((mark) => mark.label))],
    };
  });
}
