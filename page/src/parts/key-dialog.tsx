import { useEffect, useRef } from "preact/hooks";

interface Props {
  onKey: (key: string) => void;
  onDismiss: () => void;
}

/** Asks for the API key when the server wants one. */
export function KeyDialog({ onKey, onDismiss }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => dialog.current!.showModal(), []);
  return (
    <dialog ref={dialog} aria-labelledby="key-title" onCancel={onDismiss}>
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
