import type { Controller } from "../controller";
import { download, exportName, toJson, toText } from "../export";

/** Ends the review, and gives it out as JSON or text. */
export function SignOff({ controller }: { controller: Controller }) {
  const { state } = controller;
  const decided = state.items.filter((item) => item.decision !== null).length;
  const seconds = state.times?.seconds.signed_off;
  return (
    <footer class="sign-off">
      {controller.isSignedOff ? (
        <button onClick={() => controller.reopen()}>Reopen</button>
      ) : (
        <button
          class="primary"
          disabled={!state.times || state.phase === "opening" || controller.isBusy}
          onClick={() => controller.signOff()}
        >
          Sign off
        </button>
      )}
      <span role="status">
        {seconds === undefined
          ? state.items.length
            ? `${decided} of ${state.items.length} reviewed`
            : ""
          : `Signed off after ${seconds.toFixed(1)} s`}
      </span>
      <span class="space" />
      <button
        disabled={!state.times}
        onClick={() => download(exportName(state, "json"), toJson(state))}
      >
        Export JSON
      </button>
      <button
        disabled={!state.times}
        onClick={() => download(exportName(state, "txt"), toText(state))}
      >
        Export text
      </button>
    </footer>
  );
}
