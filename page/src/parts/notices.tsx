import { noticesOf } from "../notices";
import type { Reading } from "../reading";

/** What a reader must know of this reading. */
export function Notices({ reading }: { reading: Reading }) {
  const notices = noticesOf(reading);
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
