import { expect, it } from "vitest";

import { readEvents, type ServerEvent } from "../src/sse";

async function parse(...pieces: (string | Uint8Array)[]): Promise<ServerEvent[]> {
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      for (const piece of pieces) {
        const bytes = typeof piece === "string" ? encoder.encode(piece) : piece;
        controller.enqueue(bytes as Uint8Array<ArrayBuffer>);
      }
      controller.close();
    },
  });
  const events = [];
  for await (const event of readEvents(body)) events.push(event);
  return events;
}

it("reads events however they are cut", async () => {
  const text =
    'event: reasoning\ndata: {"text":"ä\\n"}\n\n: ping\n\ndata:a\ndata: b\r\n\r\ndata: lost\n';
  const whole = new TextEncoder().encode(text);
  const expected = [
    { event: "reasoning", data: '{"text":"ä\\n"}' },
    { event: "message", data: "a\nb" },
  ];
  expect(await parse(text)).toEqual(expected);
  for (let cut = 1; cut < whole.length; cut++) {
    expect(await parse(whole.slice(0, cut), whole.slice(cut))).toEqual(expected);
  }
});

it("ends the request when its reader leaves", async () => {
  let cancelled = false;
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull: (controller) => controller.enqueue(new TextEncoder().encode("data: x\n\n")),
    cancel: () => {
      cancelled = true;
    },
  });
  for await (const _ of readEvents(body)) break;
  expect(cancelled).toBe(true);
});
