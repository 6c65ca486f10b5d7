import { useEffect, useReducer } from "preact/hooks";

import { clock, elapsed, type Times } from "../times";

/** Time since the film was opened; stands still after the sign-off. */
export function Stopwatch({ times }: { times: Times | null }) {
  const [, tick] = useReducer((count: number) => count + 1, 0);
  const signedOff = times?.seconds.signed_off;
  useEffect(() => {
    if (!times || signedOff !== undefined) return undefined;
    const timer = setInterval(() => tick(undefined), 1000);
    return () => clearInterval(timer);
  }, [times === null, signedOff]);
  if (!times) return null;
  return (
    <span class="stopwatch" title="Time since the film was opened">
      {clock(signedOff ?? elapsed(times))}
    </span>
  );
}
