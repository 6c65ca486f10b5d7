/** Server-sent events (WHATWG HTML 9.2) from the body of a response. */

export interface ServerEvent {
  event: string;
  data: string;
}

/** Yield the events of a stream; an unfinished one at its end is dropped, as the standard says. */
export async function* readEvents(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<ServerEvent> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  let event = "";
  let data: string[] = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (pending + value).split(/\r\n|\n|\r(?!$)/);
      pending = lines.pop()!;
      for (const line of lines) {
        if (line === "") {
          if (data.length) yield { event: event || "message", data: data.join("\n") };
          event = "";
          data = [];
        } else {
          const [, name, text] = /^([^:]*):? ?(.*)$/s.exec(line)!;
          if (name === "event") event = text!;
          else if (name === "data") data.push(text!);
        }
      }
    }
  } finally {
    // Leaving early ends the request, which frees the server.
    await reader.cancel().catch(() => {});
  }
}
