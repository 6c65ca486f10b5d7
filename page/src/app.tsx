import { useEffect, useMemo, useReducer, useRef, useState } from "preact/hooks";

import { Controller } from "./controller";
import { filmNotices, noticesOf } from "./notices";
import { FilmView } from "./parts/film-view";
import { Findings } from "./parts/findings";
import { FollowUp } from "./parts/follow-up";
import { KeyDialog } from "./parts/key-dialog";
import { Notices } from "./parts/notices";
import { Origin } from "./parts/origin";
import { Reasoning } from "./parts/reasoning";
import { SettingsForm } from "./parts/settings-form";
import { SignOff } from "./parts/sign-off";
import { Stopwatch } from "./parts/stopwatch";
import { DISCLAIMER } from "./reading";
import { isMirrored, zonesOf, type Zone } from "./viewer/zones";

const PHASES = {
  empty: "No film",
  opening: "Opening the film",
  ready: "Film open",
  queued: "Waiting for the model",
  reading: "Reading",
  done: "Reading complete",
  stopped: "Stopped",
  failed: "Reading failed",
};

export function App() {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const controller = useMemo(() => new Controller(() => redraw(undefined)), []);
  const [selected, select] = useState<string | null>(null);
  const chooser = useRef<HTMLInputElement>(null);
  const { state } = controller;

  function open(file: File | undefined): void {
    if (!file) return;
    const isUnsaved = state.items.some((item) => item.decision) && !controller.isSignedOff;
    if (isUnsaved && !confirm("Leave this film? Your decisions on it are not signed off.")) return;
    select(null);
    void controller.open(file);
  }

  useEffect(() => {
    void controller.connect();
    if (location.hash === "#film") void controller.openGiven();
  }, []);
  useDroppedFile(open);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => event.key === "Escape" && select(null);
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);

  const finding = state.items.find((item) => item.label === selected)?.finding ?? null;
  const zones = useMemo<Zone[]>(() => {
    if (!finding || !state.film) return [];
    const mirrored = isMirrored(state.film);
    const stated = finding.evidence.filter(
      (item) => item.polarity !== "absent" || finding.status === "absent",
    );
    return stated.flatMap((item) => zonesOf(item.side, item.region, mirrored));
  }, [finding, state.film]);

  return (
    <>
      <header>
        <h1>cxr-reason</h1>
        <span class="model">{state.model}</span>
        <p class="banner">{DISCLAIMER}</p>
        {!state.isReachable && (
          <button onClick={() => void controller.connect()}>Server unreachable: try again</button>
        )}
      </header>
      <main>
        <section class="stage" aria-label="Film">
          <FilmView
            film={state.film}
            message={state.filmError}
            isOpening={state.phase === "opening"}
            zones={zones}
            onChoose={() => chooser.current!.click()}
          />
        </section>
        <section class="panel" aria-label="Reading">
          <div class="bar">
            <button
              class={state.phase === "empty" ? "primary" : ""}
              onClick={() => chooser.current!.click()}
            >
              Open film
            </button>
            {controller.isBusy ? (
              <button class="stop" onClick={() => controller.stop()}>
                Stop
              </button>
            ) : (
              <button
                disabled={!state.times || state.phase === "opening" || controller.isSignedOff}
                onClick={() => void controller.read()}
              >
                {state.phase === "done" || state.phase === "stopped" ? "Read again" : "Read"}
              </button>
            )}
            <span class="phase" data-phase={state.phase} role="status">
              {PHASES[state.phase]}
            </span>
            <Stopwatch times={state.times} />
          </div>
          {state.error && (
            <p class="error" role="alert">
              {state.error}
            </p>
          )}
          <Notices
            notices={
              state.reading ? noticesOf(state.reading) : filmNotices(state.film?.flags ?? [])
            }
          />
          <Findings
            controller={controller}
            selected={selected}
            onSelect={(label) => select(label === selected ? null : label)}
          />
          <Reasoning state={state} selected={selected} />
          <FollowUp controller={controller} />
          <SettingsForm
            settings={state.settings}
            onChange={(settings) => controller.configure(settings)}
          />
          {state.reading && <Origin reading={state.reading} />}
          <SignOff controller={controller} />
        </section>
      </main>
      <input
        ref={chooser}
        type="file"
        hidden
        aria-label="Film file"
        onChange={(event) => {
          open(event.currentTarget.files?.[0]);
          // The same file can be chosen again.
          event.currentTarget.value = "";
        }}
      />
      {state.needsKey && (
        <KeyDialog
          onKey={(key) => void controller.useKey(key)}
          onDismiss={() => controller.dismissKey()}
        />
      )}
    </>
  );
}

/** Take a file dropped anywhere on the page; without this the browser would open it instead. */
function useDroppedFile(open: (file: File | undefined) => void): void {
  const latest = useRef(open);
  latest.current = open;
  useEffect(() => {
    const onOver = (event: DragEvent) => event.preventDefault();
    const onDrop = (event: DragEvent) => {
      event.preventDefault();
      latest.current(event.dataTransfer?.files[0]);
    };
    addEventListener("dragover", onOver);
    addEventListener("drop", onDrop);
    return () => {
      removeEventListener("dragover", onOver);
      removeEventListener("drop", onDrop);
    };
  }, []);
}
