/** Draws one film on a canvas from its stored values: window, zoom, pan, invert, outlines. */

import type { Film } from "../film/film";
import { displayLevels, firstView, type GrayView } from "../film/gray";
import { halve, levelFor, paint, type Level, type Rect } from "./pyramid";
import type { Zone } from "./zones";

const MAX_SCALE = 16;
const FULL_DRAG_PX = 500; // a drag of this length changes the window by the header's width

/** What the page writes beside the film. */
export interface Readout {
  center: number;
  width: number;
  /** Whether the film is shown by a table that is no window. */
  throughLut: boolean;
  inverted: boolean;
  /** Screen pixels per film pixel. */
  scale: number;
}

export class Viewer {
  onChange: (readout: Readout) => void = () => {};

  private readonly context: CanvasRenderingContext2D;
  private readonly buffer = document.createElement("canvas");
  private film: Film | null = null;
  private view: GrayView | null = null;
  private gray: Uint8Array = new Uint8Array();
  private levels: Level[] = [];
  private zones: Zone[] = [];
  private scale = 1;
  private x = 0;
  private y = 0;
  private isFitted = true;
  private frame = 0;

  constructor(private readonly canvas: HTMLCanvasElement) {
    this.context = canvas.getContext("2d", { alpha: false })!;
  }

  show(film: Film | null): void {
    this.film = film;
    this.zones = [];
    this.levels = film ? [film] : [];
    this.reset();
  }

  /** Back to what the model is given, and the whole film in the canvas. */
  reset(): void {
    if (this.film) this.setView(firstView(this.film));
    this.fit();
  }

  /** Take the size of the element; call when it changes. */
  resize(): void {
    const { clientWidth, clientHeight } = this.canvas;
    this.canvas.width = Math.max(1, Math.round(clientWidth * devicePixelRatio));
    this.canvas.height = Math.max(1, Math.round(clientHeight * devicePixelRatio));
    if (this.isFitted) this.fit();
    else this.draw();
  }

  fit(): void {
    if (this.film) {
      const { width, height } = this.canvas;
      this.scale = Math.min(width / this.film.width, height / this.shownHeight);
      this.center();
    }
    this.isFitted = true;
    this.draw();
  }

  /** One film pixel to one screen pixel. */
  actualSize(): void {
    this.scale = 1;
    this.center();
    this.isFitted = false;
    this.draw();
  }

  /** Zoom about a point of the canvas, given in CSS pixels; its middle if left out. */
  zoom(factor: number, at?: { x: number; y: number }): void {
    if (!this.film) return;
    const x = at ? at.x * devicePixelRatio : this.canvas.width / 2;
    const y = at ? at.y * devicePixelRatio : this.canvas.height / 2;
    const least = Math.min(this.canvas.width, this.canvas.height) / 2;
    const minScale = least / Math.max(this.film.width, this.shownHeight);
    const scale = Math.min(Math.max(this.scale * factor, minScale), MAX_SCALE);
    this.x = x - (x - this.x) * (scale / this.scale);
    this.y = y - (y - this.y) * (scale / this.scale);
    this.scale = scale;
    this.isFitted = false;
    this.draw();
  }

  /** Move the film by CSS pixels. */
  pan(dx: number, dy: number): void {
    this.x += dx * devicePixelRatio;
    this.y += dy * devicePixelRatio;
    this.isFitted = false;
    this.draw();
  }

  /** Change the window by a drag in CSS pixels: right is wider, down is darker. */
  window(dx: number, dy: number): void {
    if (!this.film || !this.view) return;
    const first = this.film.window.width;
    const step = first / FULL_DRAG_PX;
    const { center, width, fn } = this.view.window;
    // On a film that shows low values bright, a lower centre is darker.
    const direction = this.view.inverted ? -1 : 1;
    this.setView({
      byTable: false,
      inverted: this.view.inverted,
      window: {
        center: center + direction * dy * step,
        // Where a rescale slope makes values small, so is the smallest width.
        width: Math.max(width + dx * step, Math.min(1, first / FULL_DRAG_PX)),
        fn,
      },
    });
    this.draw();
  }

  invert(): void {
    if (!this.view) return;
    this.setView({ ...this.view, inverted: !this.view.inverted });
    this.draw();
  }

  outline(zones: Zone[]): void {
    this.zones = zones;
    this.draw();
  }

  private setView(view: GrayView): void {
    this.view = view;
    this.gray = displayLevels(this.film!, view);
  }

  /** Height of the film in columns: its pixels may be taller than wide. */
  private get shownHeight(): number {
    return this.film!.height * this.film!.aspect;
  }

  private center(): void {
    const film = this.film!;
    this.x = Math.round((this.canvas.width - film.width * this.scale) / 2);
    this.y = Math.round((this.canvas.height - this.shownHeight * this.scale) / 2);
  }

  private draw(): void {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.drawNow());
  }

  private drawNow(): void {
    const { context, canvas } = this;
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (!this.film || !this.view) return;
    this.drawFilm();
    this.drawZones();
    const { center, width } = this.view.window;
    const { inverted } = this.view;
    const throughLut = this.view.byTable && this.film.throughLut;
    // For those who drive the page from outside: where the film lies on the canvas.
    Object.assign(canvas.dataset, { scale: this.scale, x: this.x, y: this.y });
    this.onChange({ center, width, throughLut, inverted, scale: this.scale });
  }

  private drawFilm(): void {
    const index = levelFor(this.scale);
    while (this.levels.length <= index) this.levels.push(halve(this.levels.at(-1)!));
    const level = this.levels[index]!;
    const step = { x: this.scale * 2 ** index, y: this.scale * this.film!.aspect * 2 ** index };
    const rect = this.visible(level, step);
    if (rect.width <= 0 || rect.height <= 0) return;
    this.buffer.width = rect.width;
    this.buffer.height = rect.height;
    this.buffer.getContext("2d")!.putImageData(paint(level, rect, this.gray), 0, 0);
    this.context.imageSmoothingQuality = "high";
    this.context.drawImage(
      this.buffer,
      this.x + rect.x * step.x,
      this.y + rect.y * step.y,
      rect.width * step.x,
      rect.height * step.y,
    );
  }

  /** Return the part of a level that the canvas shows, and a pixel around it for smoothing. */
  private visible(level: Level, step: { x: number; y: number }): Rect {
    const x = Math.max(0, Math.floor(-this.x / step.x) - 1);
    const y = Math.max(0, Math.floor(-this.y / step.y) - 1);
    const right = Math.min(level.width, Math.ceil((this.canvas.width - this.x) / step.x) + 1);
    const bottom = Math.min(level.height, Math.ceil((this.canvas.height - this.y) / step.y) + 1);
    return { x, y, width: right - x, height: bottom - y };
  }

  private drawZones(): void {
    const { context, film } = this;
    context.lineWidth = 1.5 * devicePixelRatio;
    context.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    context.strokeStyle = "#ffb454";
    for (const zone of this.zones) {
      const x = this.x + zone.left * film!.width * this.scale;
      const y = this.y + zone.top * this.shownHeight * this.scale;
      const width = (zone.right - zone.left) * film!.width * this.scale;
      const height = (zone.bottom - zone.top) * this.shownHeight * this.scale;
      context.strokeRect(x, y, width, height);
    }
    context.setLineDash([]);
  }
}
