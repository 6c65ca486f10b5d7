/** When what happened, counted from the opening of the film. */

export type Moment = "shown" | "reading_started" | "first_text" | "reading_done" | "signed_off";

export interface Times {
  /** Wall clock of the opening, ISO 8601. */
  opened_at: string;
  /** Seconds from the opening to each moment. A moment that comes again keeps its first time. */
  seconds: Partial<Record<Moment, number>>;
  /** How often a sign-off was taken back. */
  reopened: number;
  /** Milliseconds of `performance.now` at the opening: no clock change moves it. */
  origin_ms: number;
}

export function startTimes(): Times {
  return {
    opened_at: new Date().toISOString(),
    seconds: {},
    reopened: 0,
    origin_ms: performance.now(),
  };
}

export function mark(times: Times, moment: Moment): Times {
  if (times.seconds[moment] !== undefined) return times;
  return { ...times, seconds: { ...times.seconds, [moment]: elapsed(times) } };
}

/** Return seconds since the opening, to the millisecond. */
export function elapsed(times: Times): number {
  return Math.round(performance.now() - times.origin_ms) / 1000;
}

/** Return seconds as minutes:seconds. */
export function clock(seconds: number): string {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
