import { expect, it } from "vitest";

import { contradictionsOf, noticesOf } from "../src/notices";
import { placesOf } from "../src/reading";
import { addItem, changeItem, mergeFindings, settleFindings } from "../src/review";
import { splitByEvidence } from "../src/text";
import { halve, levelFor } from "../src/viewer/pyramid";
import { zonesOf } from "../src/viewer/zones";
import { makeFinding, makeReading } from "./example";

const EVIDENCE = { polarity: "present" as const, side: null, region: null, start: 0, end: 3 };

it("a decision outlives what the model says later", () => {
  let items = mergeFindings([], [makeFinding("Edema"), makeFinding("Fracture")]);
  items = changeItem(items, "Edema", { decision: "edited", status: "uncertain" });
  items = settleFindings(items, [makeFinding("Pneumonia")]);
  expect(
    items.map(({ label, decision, status, finding }) => [label, decision, status, finding?.label]),
  ).toEqual([
    ["Pneumonia", null, "present", "Pneumonia"],
    ["Edema", "edited", "uncertain", undefined],
  ]);
});

it("an open finding follows the model", () => {
  let items = mergeFindings([], [makeFinding("Edema", { status: "uncertain" })]);
  items = mergeFindings(items, [makeFinding("Edema", { status: "absent" })]);
  expect(items).toMatchObject([{ label: "Edema", status: "absent", decision: null }]);
});

it("an added finding is the reader's, and is added once", () => {
  const items = addItem(addItem([], "Edema"), "Edema");
  expect(items).toMatchObject([{ label: "Edema", finding: null, decision: "edited" }]);
});

it("places of denials are no places of a present finding", () => {
  const finding = makeFinding("Edema", {
    evidence: [
      { ...EVIDENCE, side: "left", region: "base" },
      { ...EVIDENCE, polarity: "absent", side: "right" },
      { ...EVIDENCE, side: "left", region: "base" },
    ],
  });
  expect(placesOf(finding)).toEqual(["left base"]);
});

it("marks sentences by code points, as the server counts", () => {
  const finding = makeFinding("Edema", { evidence: [{ ...EVIDENCE, start: 2, end: 4 }] });
  expect(splitByEvidence("😀.ab.", [finding])).toEqual([
    { text: "😀.", labels: [] },
    { text: "ab", labels: ["Edema"] },
    { text: ".", labels: [] },
  ]);
  expect(splitByEvidence("", [])).toEqual([]);
});

it("says every state of a reading, unknown ones by their name", () => {
  const reading = makeReading({
    outcome: "truncated",
    issues: ["missing_tag", "unknown_label", "language_unknown", "brand_new"],
    unknown_labels: ["Scoliosis"],
    contradictions: [
      { label: "Edema", kind: "not_in_answer" },
      { label: "", kind: "view" },
    ],
    differential: [{ findings: ["Edema", "Pneumonia"], start: 0, end: 1 }],
    film: { image_digest: "", flags: ["view_unknown"] },
  });
  reading.provenance.model_notice = "Untrained.";
  const texts = noticesOf(reading)
    .map((notice) => notice.text)
    .join("\n");
  const parts = [/token limit/, /tag/, /brand new/, /Scoliosis/, /Edema or Pneumonia/, /PA or AP/];
  for (const part of [...parts, /Untrained/, /not English/, /another projection/]) {
    expect(texts).toMatch(part);
  }
  expect(contradictionsOf(reading, "Edema")).toHaveLength(1);
  expect(contradictionsOf(reading, "Fracture")).toEqual([]);
  expect(noticesOf(makeReading({ outcome: "refused" }))[0]!.text).toMatch(/refused/);
});

it("outlines the patient's side", () => {
  const [right] = zonesOf("right", "base", false);
  const [left] = zonesOf("left", "base", false);
  expect(right!.right).toBeLessThan(0.5);
  expect(left!.left).toBeGreaterThan(0.5);
  expect(zonesOf("right", "base", true)).toEqual([left]);
  expect(zonesOf("bilateral", "apex", false)).toHaveLength(2);
  expect(zonesOf(null, null, false)).toEqual([]);
  expect(zonesOf(null, "mediastinum", false)).toHaveLength(1);
});

it("halves a film of odd size", () => {
  const level = {
    pixels: Uint16Array.of(0, 4, 10, 8, 4, 20, 100, 300, 60000),
    width: 3,
    height: 3,
  };
  expect(halve(level)).toEqual({ pixels: Uint16Array.of(4, 15, 200, 60000), width: 2, height: 2 });
  expect([2, 1, 0.51, 0.5, 0.26, 0.1].map(levelFor)).toEqual([0, 0, 0, 1, 1, 3]);
});
