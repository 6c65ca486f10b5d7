/** Mouse, pen and touch on the film. */

import type { RefObject, TargetedMouseEvent, TargetedPointerEvent } from "preact";
import { useEffect, useRef } from "preact/hooks";

import type { Viewer } from "../viewer/viewer";

export type Mode = "window" | "pan" | "zoom";

const ZOOM_PER_PX = 1.006;

interface Handlers {
  onPointerDown: (event: TargetedPointerEvent<HTMLCanvasElement>) => void;
  onPointerMove: (event: TargetedPointerEvent<HTMLCanvasElement>) => void;
  onPointerUp: () => void;
  onPointerCancel: () => void;
  onContextMenu: (event: TargetedMouseEvent<HTMLCanvasElement>) => void;
}

/** Return handlers for the canvas. The right and the middle button always pan. */
export function useDrag(viewer: RefObject<Viewer | null>, mode: Mode): Handlers {
  const dragged = useRef<{ mode: Mode; x: number; y: number } | null>(null);

  useEffect(() => {
    // A wheel listener has to be allowed to keep the page from scrolling.
    const onWheel = (event: WheelEvent) => {
      if (!(event.target instanceof HTMLCanvasElement)) return;
      event.preventDefault();
      const at = { x: event.offsetX, y: event.offsetY };
      viewer.current!.zoom(ZOOM_PER_PX ** (-event.deltaY / 3), at);
    };
    addEventListener("wheel", onWheel, { passive: false });
    return () => removeEventListener("wheel", onWheel);
  }, []);

  function end(): void {
    dragged.current = null;
  }

  return {
    onPointerDown: (event) => {
      event.currentTarget.setPointerCapture(event.pointerId);
      const moves = event.button === 0 && !event.shiftKey ? mode : "pan";
      dragged.current = { mode: moves, x: event.clientX, y: event.clientY };
    },
    onPointerMove: (event) => {
      const from = dragged.current;
      if (!from) return;
      const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
      dragged.current = { mode: from.mode, x: event.clientX, y: event.clientY };
      if (from.mode === "window") viewer.current!.window(dx, dy);
      else if (from.mode === "pan") viewer.current!.pan(dx, dy);
      else viewer.current!.zoom(ZOOM_PER_PX ** -dy);
    },
    onPointerUp: end,
    onPointerCancel: end,
    onContextMenu: (event) => event.preventDefault(),
  };
}
