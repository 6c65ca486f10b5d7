/** A review as JSON and as text. Neither holds a name, an identifier or a file name. */

import type { State } from "./controller";
import { noticesOf } from "./notices";
import { DISCLAIMER } from "./reading";
import type { ReviewItem } from "./review";

export const SCHEMA = "cxr-reason/review/1";

/** Return the whole review: the reading as it came, the decisions, the conversation, the times. */
export function toJson(state: State): string {
  const { reading, items, turns, times, settings } = state;
  const review = {
    schema: SCHEMA,
    disclaimer: DISCLAIMER,
    is_signed_off: times?.seconds.signed_off !== undefined,
    times: times && {
      opened_at: times.opened_at,
      seconds: times.seconds,
      reopened: times.reopened,
    },
    findings: items.map((item) => ({
      label: item.label,
      decision: item.decision,
      status: item.status,
      place: item.place,
      comment: item.comment,
      model_status: item.finding?.status ?? null,
      model_probability: item.finding?.probability ?? null,
    })),
    conversation: turns.map(({ question, answer, state: end }) => ({
      question,
      answer,
      state: end,
    })),
    settings,
    reading,
  };
  return JSON.stringify(review, null, 2) + "\n";
}

/** Return a draft for a report: what the reader let stand, and what was left undecided. */
export function toText(state: State): string {
  const { items, reading, times, turns } = state;
  const standing = items.filter(
    (item) => item.decision === "accepted" || item.decision === "edited",
  );
  const seconds = times?.seconds.signed_off;
  const sections = [
    section("FINDINGS", standing.map(describe)),
    section(
      "REJECTED BY THE READER",
      items.filter((item) => item.decision === "rejected").map(describe),
    ),
    section("NOT REVIEWED", items.filter((item) => item.decision === null).map(describe)),
    section(
      "FOLLOW-UP",
      turns.map((turn) => `${turn.question}\n  ${turn.answer.trim()}`),
    ),
    section("NOTES", reading ? noticesOf(reading).map((notice) => notice.text) : []),
    section("ORIGIN", [
      ...(reading?.film ? [`film SHA-256 ${reading.film.image_digest}`] : []),
      ...(reading ? [`checkpoint ${reading.provenance.checkpoint_digest}`] : []),
      seconds === undefined ? "not signed off" : `signed off ${seconds.toFixed(1)} s after opening`,
    ]),
  ];
  return [DISCLAIMER, ...sections.filter(Boolean)].join("\n\n") + "\n";
}

/** Return a name that says nothing of the patient: the film's digest and what the file is. */
export function exportName(state: State, extension: "json" | "txt"): string {
  const digest = state.reading?.film?.image_digest.slice(0, 12) ?? "unread";
  return `cxr-review-${digest}.${extension}`;
}

/** Give a file to the user. */
export function download(name: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

function section(title: string, lines: string[]): string {
  return lines.length ? [title, ...lines.map((line) => `- ${line}`)].join("\n") : "";
}

function describe(item: ReviewItem): string {
  const words = [item.status, item.place].filter(Boolean).join(", ");
  const origin = item.finding ? "" : " (added by the reader)";
  return `${item.label}: ${words}${origin}${item.comment ? `. ${item.comment}` : ""}`;
}
