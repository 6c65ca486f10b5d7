/** What the reader decides about each finding. */

import { LABELS, placesOf, type Finding, type Polarity } from "./reading";

export type Decision = "accepted" | "edited" | "rejected";

export interface ReviewItem {
  label: string;
  /** What the model says; null for a finding that the reader added. */
  finding: Finding | null;
  /** Null as long as the reader has not decided. */
  decision: Decision | null;
  /** The finding as the reader leaves it. */
  status: Polarity;
  place: string;
  comment: string;
}

export type Change = Partial<Pick<ReviewItem, "decision" | "status" | "place" | "comment">>;

const ORDER: Record<Polarity, number> = { present: 0, uncertain: 1, absent: 2 };

/** Take findings as the model now states them; what the reader decided stays. */
export function mergeFindings(items: ReviewItem[], findings: Finding[]): ReviewItem[] {
  const stated = new Set(findings.map((finding) => finding.label));
  const kept = items.filter((item) => !stated.has(item.label));
  const merged = findings.map((finding) => {
    const item = items.find((one) => one.label === finding.label);
    if (item?.decision) return { ...item, finding };
    return {
      label: finding.label,
      finding,
      decision: null,
      status: finding.status,
      place: placesOf(finding).join("; "),
      comment: item?.comment ?? "",
    };
  });
  return sortItems([...kept, ...merged]);
}

/** Take the whole reading: what it no longer states goes, unless the reader decided on it. */
export function settleFindings(items: ReviewItem[], findings: Finding[]): ReviewItem[] {
  const stated = new Set(findings.map((finding) => finding.label));
  const kept = items
    .filter((item) => stated.has(item.label) || item.decision !== null)
    .map((item) => (stated.has(item.label) ? item : { ...item, finding: null }));
  return mergeFindings(kept, findings);
}

export function changeItem(items: ReviewItem[], label: string, change: Change): ReviewItem[] {
  return items.map((item) => (item.label === label ? { ...item, ...change } : item));
}

/** Add a finding that the model did not state. */
export function addItem(items: ReviewItem[], label: string): ReviewItem[] {
  if (items.some((item) => item.label === label)) return items;
  const added: ReviewItem = {
    label,
    finding: null,
    decision: "edited",
    status: "present",
    place: "",
    comment: "",
  };
  return sortItems([...items, added]);
}

/** Present before uncertain before absent as the model says, then the order of the labels. */
function sortItems(items: ReviewItem[]): ReviewItem[] {
  const rank = (item: ReviewItem) =>
    ORDER[item.finding?.status ?? item.status] * LABELS.length + LABELS.indexOf(item.label);
  return [...items].sort((a, b) => rank(a) - rank(b));
}
