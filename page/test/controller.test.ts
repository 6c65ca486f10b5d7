import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { Controller } from "../src/controller";
import { exportName, toJson, toText } from "../src/export";
import { ApiError } from "../src/api";
import type { Film } from "../src/film/film";
import { makeFinding, makeReading } from "./example";
import { makeFilm } from "./film";

const FILM = makeFilm();
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

it("does not read what is refused", async () => {
  const controller = make(async () => {
    throw new ApiError("image: not a chest film", 400);
  });
  await controller.open(FILE);
  const { phase, filmError, error } = controller.state;
  expect([phase, filmError, error]).toEqual(["failed", "image: not a chest film", ""]);
  expect(calls).toEqual([]);
});

it("opens a film again that a fault kept from opening", async () => {
  const decode = vi.fn(async () => FILM);
  decode.mockRejectedValueOnce(new ApiError("busy: try again later", 503));
  const controller = make(decode);
  await controller.open(FILE);
  expect(controller.state).toMatchObject({ phase: "failed", error: "busy: try again later" });
  answers.push(() => stream(...WHOLE));
  await controller.read();
  expect(controller.state).toMatchObject({ phase: "done", film: FILM, error: "" });
});

it("sends no film over the server's limit", async () => {
  const decode = vi.fn(async () => FILM);
  const controller = make(decode);
  answers.push(() => Response.json({ data: [{ id: "nano", max_film_bytes: 5 }] }));
  await controller.connect();
  await controller.open(FILE);
  expect(controller.state.filmError).toMatch(/larger than/);
  expect(decode).not.toHaveBeenCalled();
});

it("leaves a film that is still opening for the next one", async () => {
  const signals: AbortSignal[] = [];
  const controller = new Controller(
    () => {},
    async (file, signal) => {
      signals.push(signal);
      if (file === FILE) await new Promise(() => {});
      return FILM;
    },
  );
  void controller.open(FILE);
  answers.push(() => stream(...WHOLE));
  await controller.open(new Blob(["other"]));
  expect(signals[0]!.aborted).toBe(true);
  expect(controller.state.phase).toBe("done");
});

it("names a film that was read before, and sends it again where it is lost", async () => {
  const controller = await readWhole();
  answers.push(() => stream(...WHOLE));
  await controller.read();
  const again = calls[1]!.init.body as FormData;
  expect([again.has("film"), again.get("image_digest")]).toEqual([false, "ab".repeat(32)]);
  const lost = { error: { message: "image_digest: not held", param: "image_digest" } };
  answers.push(
    () => stream(["queued", {}], ["error", lost]),
    () => stream(...WHOLE),
  );
  await controller.read();
  expect(controller.state).toMatchObject({ phase: "done", error: "" });
  expect((calls[3]!.init.body as FormData).has("film")).toBe(true);
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
  const lost = Response.json(
    { error: { message: "lost", param: "image_digest" } },
    { status: 400 },
  );
  answers.push(() => lost);
  answers.push(() => new Response(`${chunk("x")}data: [DONE]\n\n`));
  await controller.ask("Provide differentials.");
  expect(controller.state.turns).toMatchObject([{ answer: "Heart failure.", state: "done" }]);
  await controller.ask("Write a structured report.");
  expect(controller.state.turns).toMatchObject([{ state: "done" }, { answer: "x", state: "done" }]);
  const sent = calls.slice(2).map(({ init }) => JSON.parse(init.body as string)) as {
    model: string;
    messages: { content: { image_url: { url: string } }[] }[];
  }[];
  const urls = sent.map(({ messages }) => messages[0]!.content[0]!.image_url.url);
  const named = `sha256:${"ab".repeat(32)}`;
  expect(urls).toEqual([named, named, "data:image/png;base64,eA=="]);
  expect(sent[2]!.model).toBe("nano");
  expect(sent[2]!.messages).toEqual([
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
