import type { Notice } from "../notices";

/** What a reader must know of this film or reading. */
export function Notices({ notices }: { notices: Notice[] }) {
  if (!notices.length) return null;
  return (
    <ul class="notices" aria-label="Notices">
      {notices.map((notice) => (
        <li key={notice.text} class={notice.level}>
          {notice.text}
        </li>
      ))}
    </ul>
  );
}
