/** The gateway's endpoints that the page calls. */

import type { Film } from "./film/film";
import { readPicture } from "./film/picture";
import type { Finding, Reading } from "./reading";
import { readEvents } from "./sse";

const KEY = "cxr-reason-api-key";

/** Something went wrong between page and server. `message` is for the reader. */
export class ApiError extends Error {
  constructor(
    message: string,
    /** HTTP status; 0 where there was no answer. */
    readonly status: number,
    /** What of the request is at fault, as the server names it. */
    readonly param = "",
  ) {
    super(message);
  }

  /** Whether a film was named by its digest that the server holds no more. */
  get isUnknownFilm(): boolean {
    return this.param === "image_digest";
  }
}

/** What a reading is asked with; an empty field leaves the choice to the server. */
export interface Settings {
  prompt: string;
  max_tokens: string;
  temperature: string;
  seed: string;
  num_traces: string;
  answer_format: string;
}

export type ReadingEvent =
  | { event: "queued" }
  | { event: "reasoning" | "answer" | "other"; text: string }
  | { event: "finding"; finding: Finding }
  | { event: "done"; reading: Reading };

export interface Message {
  role: "user" | "assistant";
  content: string | { type: string; text?: string; image_url?: { url: string } }[];
}

/** Keep the key as long as the tab is open; an empty one forgets it. */
export function keepKey(key: string): void {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** Ask whether the server is there, and what it takes. Rejects with `ApiError`. */
export async function fetchModel(): Promise<{ id: string; maxFilmBytes: number }> {
  const response = await call("v1/models", {});
  const { data } = (await response.json()) as { data: { id: string; max_film_bytes?: number }[] };
  return { id: data[0]?.id ?? "", maxFilmBytes: data[0]?.max_film_bytes ?? Infinity };
}

/** Fetch the film that the gateway was started with. Rejects with `ApiError`. */
export async function fetchFilm(): Promise<Blob> {
  return (await call("v1/film", {})).blob();
}

/** Let the server decode a film, which stores nothing of it. Rejects as `streamReading`. */
export async function fetchPicture(film: Blob, signal: AbortSignal): Promise<Film> {
  // The server tells films by their content; the type of the browser follows the file's name.
  const headers = { "Content-Type": "application/octet-stream" };
  const response = await call("v1/film", { method: "POST", headers, body: film, signal });
  return readPicture(await response.arrayBuffer());
}

/**
 * Read a film, given as its file or as the digest of one that was read before. Rejects with
 * `ApiError`, and with `AbortError` after `signal`.
 */
export async function* streamReading(
  film: Blob | string,
  settings: Settings,
  signal: AbortSignal,
): AsyncGenerator<ReadingEvent> {
  const form = new FormData();
  // The file's own name may identify the patient.
  if (film instanceof Blob) form.append("film", film, "film");
  else form.append("image_digest", film);
  form.append("stream", "true");
  for (const [name, value] of Object.entries(settings)) if (value) form.append(name, value);
  const response = await call("v1/readings", { method: "POST", body: form, signal });
  for await (const { event, data } of readEvents(response.body!)) {
    const fields: unknown = JSON.parse(data);
    if (event === "error") throw makeError(fields, response.status);
    if (event === "queued") yield { event };
    else if (event === "finding") yield { event, finding: fields as Finding };
    else if (event === "done") {
      yield { event, reading: fields as Reading };
      return;
    } else if (event === "reasoning" || event === "answer" || event === "other") {
      yield { event, text: (fields as { text: string }).text };
    }
  }
  throw new ApiError("The connection ended before the reading was complete. Read again.", 0);
}

/** Ask a follow-up; yield its new text. Rejects as `streamReading`. */
export async function* streamAnswer(
  model: string,
  messages: Message[],
  signal: AbortSignal,
): AsyncGenerator<{ text: string; reasoning: string }> {
  const response = await call("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model, messages, stream: true }),
    signal,
  });
  for await (const { data } of readEvents(response.body!)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data) as {
      error?: unknown;
      choices?: { delta: { content?: string | null; reasoning?: string | null } }[];
    };
    if (chunk.error) throw makeError(chunk, response.status);
    const delta = chunk.choices?.[0]?.delta;
    if (delta) yield { text: delta.content ?? "", reasoning: delta.reasoning ?? "" };
  }
  throw new ApiError("The connection ended before the answer was complete. Ask again.", 0);
}

async function call(path: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  const key = sessionStorage.getItem(KEY);
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError(
      "The server cannot be reached. Check that it runs and that the network is there.",
      0,
    );
  }
  if (response.ok) return response;
  const fields: unknown = await response.json().catch(() => null);
  throw makeError(fields, response.status);
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

function makeError(fields: unknown, status: number): ApiError {
  const answer = fields as { error?: Fault; message?: string } | null;
  const text = answer?.error?.message || answer?.message || `The server answered ${status}.`;
  return new ApiError(text, status, answer?.error?.param ?? "");
}

interface Fault {
  message?: string;
  param?: string | null;
}
