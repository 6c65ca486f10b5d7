import { useEffect, useRef, useState } from "preact/hooks";

import type { Film } from "../film/film";
import { Viewer, type Readout } from "../viewer/viewer";
import type { Zone } from "../viewer/zones";
import { useDrag, type Mode } from "./use-drag";

interface Props {
  film: Film | null;
  /** Why the film cannot be shown. */
  message: string;
  isOpening: boolean;
  zones: Zone[];
  onChoose: () => void;
}

const MODES: { mode: Mode; label: string; title: string }[] = [
  { mode: "window", label: "Window", title: "Drag: right is wider, down is darker" },
  { mode: "pan", label: "Pan", title: "Drag moves the film; so does the right mouse button" },
  { mode: "zoom", label: "Zoom", title: "Drag up is nearer; so is the wheel" },
];
const KEY_STEP_PX = 10;
const ZOOM_STEP = 1.25;

/** The film with its tools and its values. */
export function FilmView({ film, message, isOpening, zones, onChoose }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const viewer = useRef<Viewer | null>(null);
  const [mode, setMode] = useState<Mode>("window");
  const [readout, setReadout] = useState<Readout | null>(null);

  useEffect(() => {
    const made = new Viewer(canvas.current!);
    made.onChange = setReadout;
    viewer.current = made;
    const observer = new ResizeObserver(() => made.resize());
    observer.observe(canvas.current!);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    setReadout(null);
    viewer.current!.show(film);
  }, [film]);
  useEffect(() => viewer.current!.outline(zones), [zones]);
  const drag = useDrag(viewer, mode);

  function onKey(event: KeyboardEvent): void {
    const act = keyAction(viewer.current!, event);
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }

  const isOff = !film;
  return (
    <>
      <div class="tools" role="toolbar" aria-label="Film tools">
        {MODES.map((item) => (
          <button
            key={item.mode}
            title={item.title}
            disabled={isOff}
            aria-pressed={mode === item.mode}
            onClick={() => setMode(item.mode)}
          >
            {item.label}
          </button>
        ))}
        <span class="gap" />
        <button disabled={isOff} title="Whole film" onClick={() => viewer.current!.fit()}>
          Fit
        </button>
        <button
          disabled={isOff}
          title="Film pixel by pixel"
          onClick={() => viewer.current!.actualSize()}
        >
          1:1
        </button>
        <button
          disabled={isOff}
          title="Swap dark and bright (I)"
          aria-pressed={readout !== null && readout.inverted !== film?.inverted}
          onClick={() => viewer.current!.invert()}
        >
          Invert
        </button>
        <button
          disabled={isOff}
          title="As the model is given it, and the whole film (R)"
          onClick={() => viewer.current!.reset()}
        >
          Reset
        </button>
      </div>
      <div class={`film ${mode}`}>
        <canvas
          ref={canvas}
          tabIndex={0}
          role="img"
          aria-label={
            "Chest film. Arrow keys change the window, with Shift they move the film; " +
            "plus and minus zoom, I inverts, R resets, F fits, 1 shows it pixel by pixel."
          }
          onKeyDown={onKey}
          {...drag}
        />
        {!film && (
          <div class="invitation">
            {message ? (
              <p role="alert">{message}</p>
            ) : isOpening ? (
              <p>Opening</p>
            ) : (
              <>
                <p>Drop a chest film here: DICOM, PNG or JPEG</p>
                <button class="primary" onClick={onChoose}>
                  Choose film
                </button>
                <p class="hint">It goes to this page's server only. A reload forgets it.</p>
              </>
            )}
          </div>
        )}
        {film && <Marks film={film} />}
        {zones.length > 0 && (
          <p class="caption">Outline: schematic place of the words, not measured</p>
        )}
      </div>
      <div class="under-film">{film && readout && <Values film={film} readout={readout} />}</div>
    </>
  );
}

function keyAction(viewer: Viewer, event: KeyboardEvent): (() => void) | undefined {
  const move = (dx: number, dy: number) => () =>
    event.shiftKey ? viewer.pan(3 * dx, 3 * dy) : viewer.window(dx, dy);
  const actions: Record<string, () => void> = {
    ArrowLeft: move(-KEY_STEP_PX, 0),
    ArrowRight: move(KEY_STEP_PX, 0),
    ArrowUp: move(0, -KEY_STEP_PX),
    ArrowDown: move(0, KEY_STEP_PX),
    "+": () => viewer.zoom(ZOOM_STEP),
    "=": () => viewer.zoom(ZOOM_STEP),
    "-": () => viewer.zoom(1 / ZOOM_STEP),
    "1": () => viewer.actualSize(),
    f: () => viewer.fit(),
    i: () => viewer.invert(),
    r: () => viewer.reset(),
  };
  return actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
}

const OPPOSITE = { L: "R", R: "L", "": "" };

/** Patient's sides at the edges, from the header alone: a guess would be worse than none. */
function Marks({ film }: { film: Film }) {
  return (
    <div class="marks" aria-hidden="true">
      <span>{OPPOSITE[film.rightEdge]}</span>
      <span>{film.rightEdge}</span>
    </div>
  );
}

function Values({ film, readout }: { film: Film; readout: Readout }) {
  const window = readout.throughLut
    ? "LUT of the file"
    : `C ${round(readout.center)}  W ${round(readout.width)}`;
  const spacing = film.spacing;
  const plane = spacing?.plane === "detector" ? "mm at detector" : "mm, calibrated";
  return (
    <dl class="values">
      <div>
        <dt>Window</dt>
        <dd data-testid="window">{window}</dd>
      </div>
      <div>
        <dt>Zoom</dt>
        <dd>{Math.round(readout.scale * 100)} %</dd>
      </div>
      <div>
        <dt>Film</dt>
        <dd>
          {film.width} × {film.height}, {film.bits} bit{film.view && `, ${film.view}`}
        </dd>
      </div>
      <div>
        <dt>Pixel</dt>
        <dd>{spacing ? `${spacing.mm} ${plane}` : "size unknown"}</dd>
      </div>
    </dl>
  );
}

function round(value: number): string {
  return String(Math.abs(value) < 10 ? Number(value.toPrecision(3)) : Math.round(value));
}
