/** The state of the page and everything that changes it. Nothing of it outlives a reload. */

import {
  ApiError,
  fetchFilm,
  fetchModel,
  fetchPicture,
  isAbort,
  keepKey,
  streamAnswer,
  streamReading,
  type Message,
  type ReadingEvent,
  type Settings,
} from "./api";
import type { Film } from "./film/film";
import type { Reading } from "./reading";
import {
  addItem,
  changeItem,
  mergeFindings,
  settleFindings,
  type Change,
  type ReviewItem,
} from "./review";
import { mark, startTimes, type Moment, type Times } from "./times";

export type Phase =
  "empty" | "opening" | "ready" | "queued" | "reading" | "done" | "stopped" | "failed";

/** One question after the reading, and what came back. */
export interface Turn {
  question: string;
  answer: string;
  reasoning: string;
  state: "asking" | "done" | "stopped" | "failed";
}

export interface State {
  phase: Phase;
  /** Name of the served model, "" before the server answered. */
  model: string;
  isReachable: boolean;
  needsKey: boolean;
  error: string;
  film: Film | null;
  /** Why the film is not shown, and is not read either. */
  filmError: string;
  reasoning: string;
  answer: string;
  other: string;
  reading: Reading | null;
  items: ReviewItem[];
  turns: Turn[];
  times: Times | null;
  settings: Settings;
}

export const FIND_ABNORMALITIES = "Find abnormalities and support devices.";

const NO_READING = { reasoning: "", answer: "", other: "", reading: null, error: "" };
const NO_FILM = { ...NO_READING, film: null, filmError: "", items: [], turns: [], times: null };

export class Controller {
  state: State = {
    ...NO_FILM,
    phase: "empty",
    model: "",
    isReachable: true,
    needsKey: false,
    settings: {
      prompt: FIND_ABNORMALITIES,
      max_tokens: "",
      temperature: "",
      seed: "",
      num_traces: "",
      answer_format: "",
    },
  };

  private file: Blob | null = null;
  /** Digest of the film once the server read it: it may still hold what it made of it. */
  private heldDigest = "";
  private maxFilmBytes = Infinity;
  private abort: AbortController | null = null;
  private retry: (() => void) | null = null;

  constructor(
    private readonly onChange: () => void,
    private readonly decode: (file: Blob, signal: AbortSignal) => Promise<Film> = fetchPicture,
  ) {}

  get isBusy(): boolean {
    const isAsking = this.state.turns.some((turn) => turn.state === "asking");
    return isAsking || this.state.phase === "queued" || this.state.phase === "reading";
  }

  get isSignedOff(): boolean {
    return this.state.times?.seconds.signed_off !== undefined;
  }

  /** Ask the server for its model. */
  async connect(): Promise<void> {
    try {
      const { id, maxFilmBytes } = await fetchModel();
      this.maxFilmBytes = maxFilmBytes;
      this.set({ model: id, isReachable: true });
    } catch (error) {
      this.fail(error, null);
    }
  }

  /** Open the film that the gateway was started with. */
  async openGiven(): Promise<void> {
    try {
      await this.open(await fetchFilm());
    } catch (error) {
      this.fail(error, () => void this.openGiven());
    }
  }

  /** Replace the film, and read the new one. */
  async open(file: Blob): Promise<void> {
    const signal = this.begin();
    this.file = file;
    this.heldDigest = "";
    this.set({ ...NO_FILM, phase: "opening", times: startTimes() });
    if (file.size > this.maxFilmBytes) {
      const most = Math.floor(this.maxFilmBytes / 2 ** 20);
      this.set({ phase: "failed", filmError: `This file is larger than ${most} MiB, the most.` });
      return;
    }
    try {
      const film = await this.decode(file, signal);
      if (this.file !== file || signal.aborted) return;
      this.set({ film, phase: "ready", isReachable: true });
      this.mark("shown");
    } catch (error) {
      if (this.file !== file || signal.aborted) return;
      this.set({ phase: "failed" });
      // One decoder serves both: what cannot be shown cannot be read.
      if (isRefusal(error)) this.set({ filmError: error.message });
      else this.fail(error, () => void this.open(file));
      return;
    }
    await this.read();
  }

  /** Read the film from the start. Decisions of the reader stay. */
  async read(): Promise<void> {
    const file = this.file;
    if (!file || this.isBusy || this.isSignedOff) return;
    if (!this.state.film) return this.open(file);
    const signal = this.begin();
    const undecided = { items: this.state.items.filter((item) => item.decision !== null) };
    this.set({ ...NO_READING, ...undecided, turns: [], phase: "queued" });
    this.mark("reading_started");
    try {
      for await (const event of this.readingEvents(file, signal)) {
        if (signal.aborted) return;
        if (event.event === "queued") continue;
        this.mark("first_text");
        if (event.event === "finding") {
          this.set({ items: mergeFindings(this.state.items, [event.finding]) });
        } else if (event.event === "done") {
          const { reading } = event;
          const items = settleFindings(this.state.items, reading.findings);
          this.heldDigest = reading.film?.image_digest ?? "";
          this.set({ reading, items, phase: "done", isReachable: true });
          this.mark("reading_done");
        } else {
          this.set({ phase: "reading", [event.event]: this.state[event.event] + event.text });
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      this.set({ phase: "failed" });
      this.fail(error, () => void this.read());
    }
  }

  /** Stop what the server is writing. What has come stays. */
  stop(): void {
    this.abort?.abort();
    const { phase, turns } = this.state;
    this.set({
      phase: phase === "queued" || phase === "reading" ? "stopped" : phase,
      turns: turns.map((turn) => (turn.state === "asking" ? { ...turn, state: "stopped" } : turn)),
    });
  }

  /** Ask a follow-up question about the reading. */
  async ask(question: string): Promise<void> {
    const { reading } = this.state;
    if (!this.file || !reading || this.isBusy) return;
    if (!this.state.model) await this.connect();
    const { model } = this.state;
    const signal = this.begin();
    const earlier = this.state.turns.filter((turn) => turn.state === "done");
    let turn: Turn = { question, answer: "", reasoning: "", state: "asking" };
    const show = (change: Partial<Turn>) => {
      turn = { ...turn, ...change };
      this.set({ turns: [...earlier, turn] });
    };
    show({});
    this.set({ error: "" });
    try {
      for await (const part of this.answerParts(model, reading, question, signal)) {
        if (signal.aborted) return;
        show({ answer: turn.answer + part.text, reasoning: turn.reasoning + part.reasoning });
      }
      show({ state: "done" });
    } catch (error) {
      if (signal.aborted) return;
      show({ state: "failed" });
      this.fail(error, () => void this.ask(question));
    }
  }

  change(label: string, change: Change): void {
    if (!this.isSignedOff) this.set({ items: changeItem(this.state.items, label, change) });
  }

  /** Accept those of the findings that the reader has not decided on. */
  acceptOpen(labels: string[]): void {
    for (const item of this.state.items) {
      const isOpen = item.decision === null && labels.includes(item.label);
      if (isOpen) this.change(item.label, { decision: "accepted" });
    }
  }

  add(label: string): void {
    if (!this.isSignedOff) this.set({ items: addItem(this.state.items, label) });
  }

  signOff(): void {
    this.mark("signed_off");
  }

  /** Take back the sign-off; the time goes on and the record says so. */
  reopen(): void {
    const times = this.state.times;
    if (!times) return;
    const { signed_off, ...seconds } = times.seconds;
    if (signed_off !== undefined) {
      this.set({ times: { ...times, seconds, reopened: times.reopened + 1 } });
    }
  }

  /** Try a key; where the server takes it, go on with what it was missing for. */
  async useKey(key: string): Promise<void> {
    keepKey(key);
    this.set({ needsKey: false, error: "" });
    await this.connect();
    if (this.state.needsKey) return;
    const retry = this.retry;
    this.retry = null;
    retry?.();
  }

  dismissKey(): void {
    this.retry = null;
    this.set({ needsKey: false, error: "This server needs an API key." });
  }

  configure(settings: Partial<Settings>): void {
    this.set({ settings: { ...this.state.settings, ...settings } });
  }

  private begin(): AbortSignal {
    this.abort?.abort();
    this.abort = new AbortController();
    return this.abort.signal;
  }

  /** Read by digest where the server may hold the film, and send the file where it does not. */
  private async *readingEvents(file: Blob, signal: AbortSignal): AsyncGenerator<ReadingEvent> {
    const { settings } = this.state;
    try {
      yield* streamReading(this.heldDigest || file, settings, signal);
    } catch (error) {
      if (!this.hasLostFilm(error)) throw error;
      yield* streamReading(file, settings, signal);
    }
  }

  /** As `readingEvents`, for a follow-up. */
  private async *answerParts(
    model: string,
    reading: Reading,
    question: string,
    signal: AbortSignal,
  ): AsyncGenerator<{ text: string; reasoning: string }> {
    const { film } = this.state;
    const url = this.heldDigest ? `sha256:${this.heldDigest}` : await toDataUrl(this.file!, film);
    try {
      yield* streamAnswer(model, this.conversation(reading, question, url), signal);
    } catch (error) {
      if (!this.hasLostFilm(error)) throw error;
      const whole = await toDataUrl(this.file!, film);
      yield* streamAnswer(model, this.conversation(reading, question, whole), signal);
    }
  }

  private hasLostFilm(error: unknown): boolean {
    const isLost = this.heldDigest !== "" && error instanceof ApiError && error.isUnknownFilm;
    if (isLost) this.heldDigest = "";
    return isLost;
  }

  private conversation(reading: Reading, question: string, url: string): Message[] {
    const done = this.state.turns.filter((turn) => turn.state === "done");
    return [
      {
        role: "user",
        content: [
          { type: "image_url", image_url: { url } },
          { type: "text", text: this.state.settings.prompt },
        ],
      },
      { role: "assistant", content: said(reading.text) },
      ...done.flatMap((turn): Message[] => [
        { role: "user", content: turn.question },
        { role: "assistant", content: said(turn.answer) },
      ]),
      { role: "user", content: question },
    ];
  }

  private fail(error: unknown, retry: (() => void) | null): void {
    if (isAbort(error)) return;
    if (error instanceof ApiError && error.status === 401) {
      this.retry = retry ?? this.retry;
      keepKey("");
      this.set({ needsKey: true });
      return;
    }
    const isReachable = !(error instanceof ApiError && error.status === 0);
    const text =
      error instanceof ApiError ? error.message : "The server's answer was not readable.";
    this.set({ error: text, isReachable });
  }

  private mark(moment: Moment): void {
    if (this.state.times) this.set({ times: mark(this.state.times, moment) });
  }

  private set(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    this.onChange();
  }
}

/** Whether the film itself is at fault, and not the server or the way to it. */
function isRefusal(error: unknown): error is ApiError {
  return error instanceof ApiError && (error.status === 400 || error.status === 413);
}

/** Text that spells one of the model's special tokens would be refused in a prompt. */
function said(text: string): string {
  return text.replaceAll("<|", "< |");
}

/** Return the file as a data: URL with the media type that its content has. */
async function toDataUrl(file: Blob, film: Film | null): Promise<string> {
  const source = film?.source ?? "dicom";
  const type = source === "dicom" ? "application/dicom" : `image/${source}`;
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error!);
    reader.readAsDataURL(new Blob([file], { type }));
  });
}
