import { useEffect, useRef } from "preact/hooks";

/** Asks for the API key when the server wants one. */
export function KeyDialog({ onKey }: { onKey: (key: string) => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => dialog.current!.showModal(), []);
  return (
    <dialog ref={dialog} aria-labelledby="key-title">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          onKey(field.current!.value.trim());
        }}
      >
        <h2 id="key-title">This server asks for an API key</h2>
        <label>
          API key
          <input ref={field} type="password" autocomplete="off" required />
        </label>
        <p class="hint">It is kept until this tab is closed.</p>
        <button class="primary">Use key</button>
      </form>
    </dialog>
  );
}
