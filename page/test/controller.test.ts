import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { Controller } from "../src/controller";
import { exportName, toJson, toText } from "../src/export";
import type { Film } from "../src/film/film";
import { FilmError } from "../src/film/film";
import { makeFinding, makeReading } from "./example";

const FILM = { source: "png" } as Film;
const FILE = new Blob(["pixels"]);
const READING = makeReading({ findings: [makeFinding("Cardiomegaly")] });
const WHOLE = [
  ["queued", {}],
  ["reasoning", { text: "The heart " }],
  ["reasoning", { text: "is large." }],
  ["finding", makeFinding("Cardiomegaly")],
  ["finding", makeFinding("Edema", { status: "uncertain" })],
  ["answer", { text: "Cardiomegaly" }],
  ["done", READING],
] as const;

let calls: { path: string; init: RequestInit }[] = [];
let answers: (() => Response | Promise<Response>)[] = [];

beforeEach(() => {
  calls = [];
  answers = [];
  const store = new Map<string, string>();
  vi.stubGlobal("sessionStorage", {
    getItem: (key: string) => store.get(key) ?? null,
    setItem: (key: string, value: string) => store.set(key, value),
    removeItem: (key: string) => store.delete(key),
  });
  vi.stubGlobal("FileReader", FakeFileReader);
  vi.stubGlobal("fetch", async (path: string, init: RequestInit) => {
    calls.push({ path, init });
    return answers.shift()!();
  });
});
afterEach(() => vi.unstubAllGlobals());

class FakeFileReader {
  result = "";
  onload = () => {};
  readAsDataURL(blob: Blob): void {
    this.result = `data:${blob.type};base64,eA==`;
    queueMicrotask(() => this.onload());
  }
}

function stream(...events: (readonly [string, unknown])[]): Response {
  const text = events.map(([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  return new Response(text.join(""), { headers: { "Content-Type": "text/event-stream" } });
}

function fail(status: number, message: string): Response {
  return Response.json({ error: { message } }, { status });
}

function make(decode: () => Promise<Film> = async () => FILM): Controller {
  return new Controller(() => {}, decode);
}

async function readWhole(): Promise<Controller> {
  answers.push(() => stream(...WHOLE));
  const controller = make();
  await controller.open(FILE);
  return controller;
}

it("reads a film as it is opened", async () => {
  const { state } = await readWhole();
  expect(state.phase).toBe("done");
  expect(state.reasoning).toBe("The heart is large.");
  // The reading at the end knows best: what it does not state is gone.
  expect(state.items.map((item) => item.label)).toEqual(["Cardiomegaly"]);
  expect(Object.keys(state.times!.seconds)).toEqual([
    "shown",
    "reading_started",
    "first_text",
    "reading_done",
  ]);
  const form = calls[0]!.init.body as FormData;
  expect(form.get("stream")).toBe("true");
  expect(form.get("prompt")).toBe("Find abnormalities and support devices.");
  expect(form.has("seed")).toBe(false);
  expect((form.get("film") as File).name).toBe("film");
});

it("lets the server read what the page cannot show", async () => {
  answers.push(() => stream(...WHOLE));
  const controller = make(async () => {
    throw new FilmError("no decoder");
  });
  await controller.open(FILE);
  expect(controller.state).toMatchObject({ phase: "done", filmError: "no decoder", film: null });
});

it("keeps what came before a stop", async () => {
  const controller = make();
  answers.push(() => {
    const { signal } = calls[0]!.init;
    const body = new ReadableStream<Uint8Array>({
      start(stream) {
        stream.enqueue(new TextEncoder().encode('event: reasoning\ndata: {"text":"The"}\n\n'));
        signal!.addEventListener("abort", () => stream.error(new DOMException("", "AbortError")));
      },
    });
    return new Response(body);
  });
  const opened = controller.open(FILE);
  await vi.waitFor(() => expect(controller.state.reasoning).toBe("The"));
  expect(controller.isBusy).toBe(true);
  controller.stop();
  await opened;
  expect(controller.state).toMatchObject({ phase: "stopped", reasoning: "The", error: "" });
  expect(controller.isBusy).toBe(false);
});

it.each([
  ["an unreachable server", () => Promise.reject(new TypeError("net")), /cannot be reached/, false],
  ["a busy server", () => fail(503, "busy: try again later"), /try again later/, true],
  ["an error without a text", () => new Response("", { status: 502 }), /502/, true],
  [
    "an error in the stream",
    () => stream(["error", { error: { message: "no chest" } }]),
    /no chest/,
    true,
  ],
  [
    "a stream that ends early",
    () => stream(["reasoning", { text: "a" }]),
    /before the reading/,
    false,
  ],
  [
    "an answer that is not JSON",
    () => new Response("event: done\ndata: {\n\n"),
    /not readable/,
    true,
  ],
])("%s is told, and can be tried again", async (_, answer, text, isReachable) => {
  answers.push(answer, () => stream(...WHOLE));
  const controller = make();
  await controller.open(FILE);
  expect(controller.state.phase).toBe("failed");
  expect(controller.state.error).toMatch(text);
  expect(controller.state.isReachable).toBe(isReachable);
  await controller.read();
  expect(controller.state).toMatchObject({ phase: "done", error: "" });
});

it("asks for a key and goes on with it", async () => {
  const models = () => Response.json({ data: [{ id: "nano" }] });
  answers.push(
    () => fail(401, "key missing"),
    models,
    () => stream(...WHOLE),
  );
  const controller = make();
  await controller.open(FILE);
  expect(controller.state).toMatchObject({ needsKey: true, error: "" });
  await controller.useKey("secret");
  await vi.waitFor(() => expect(controller.state.phase).toBe("done"));
  expect(controller.state.model).toBe("nano");
  for (const { init } of calls.slice(1)) {
    expect(new Headers(init.headers).get("Authorization")).toBe("Bearer secret");
  }
});

it("sends the film and the conversation along with a follow-up", async () => {
  const controller = await readWhole();
  // The model's name was not asked for before.
  answers.push(() => Response.json({ data: [{ id: "nano" }] }));
  const chunk = (content: string) =>
    `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`;
  answers.push(() => new Response(`${chunk("Heart ")}${chunk("failure.")}data: [DONE]\n\n`));
  answers.push(() => new Response(`${chunk("x")}data: [DONE]\n\n`));
  await controller.ask("Provide differentials.");
  expect(controller.state.turns).toMatchObject([{ answer: "Heart failure.", state: "done" }]);
  await controller.ask("Write a structured report.");
  const { model, messages } = JSON.parse(calls[3]!.init.body as string) as {
    model: string;
    messages: unknown[];
  };
  expect(model).toBe("nano");
  expect(messages).toEqual([
    {
      role: "user",
      content: [
        { type: "image_url", image_url: { url: "data:image/png;base64,eA==" } },
        { type: "text", text: "Find abnormalities and support devices." },
      ],
    },
    { role: "assistant", content: READING.text },
    { role: "user", content: "Provide differentials." },
    { role: "assistant", content: "Heart failure." },
    { role: "user", content: "Write a structured report." },
  ]);
});

it("locks at the sign-off, and opens again on the record", async () => {
  const controller = await readWhole();
  controller.change("Cardiomegaly", { decision: "accepted" });
  controller.signOff();
  controller.change("Cardiomegaly", { decision: "rejected" });
  controller.add("Edema");
  expect(controller.state.items).toMatchObject([{ label: "Cardiomegaly", decision: "accepted" }]);
  controller.reopen();
  controller.change("Cardiomegaly", { decision: "rejected", comment: "rotated" });
  controller.signOff();
  expect(controller.state.times).toMatchObject({ reopened: 1 });
  const exported = JSON.parse(toJson(controller.state)) as Record<string, unknown>;
  expect(exported).toMatchObject({
    schema: "cxr-reason/review/1",
    is_signed_off: true,
    findings: [{ label: "Cardiomegaly", decision: "rejected", model_status: "present" }],
    times: { reopened: 1 },
    reading: { text: READING.text },
  });
  const text = toText(controller.state);
  expect(text).toMatch(/not for diagnosis/);
  expect(text).toMatch(/REJECTED BY THE READER\n- Cardiomegaly: present\. rotated/);
  expect(exportName(controller.state, "json")).toBe("cxr-review-abababababab.json");
});

it("forgets the film before when another is opened", async () => {
  const controller = await readWhole();
  controller.change("Cardiomegaly", { decision: "accepted" });
  answers.push(() => stream(["done", makeReading()]));
  await controller.open(new Blob(["other"]));
  expect(controller.state).toMatchObject({ items: [], turns: [], reasoning: "" });
});
