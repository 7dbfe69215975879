import type { State } from "./api/types.ts";

/** How long ago a moment was, in the largest unit that fits: "now", "5 min", "3 h", "2 d". */
export function age(since: string | null, now: number = Date.now()): string {
  if (!since) return "–";
  const seconds = Math.max(0, Math.floor((now - Date.parse(since)) / 1000));
  if (seconds < 10) return "now";
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** How long it still is, as "0:48" or "12:05". */
export function countdown(milliseconds: number): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** A time in the unit and with the digits that say something: "24 ms", "1.3 s". */
export function duration(milliseconds: number): string {
  if (milliseconds < 1) return "under 1 ms";
  if (milliseconds < 999.5) return `${Math.round(milliseconds)} ms`;
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

/** A number of bytes, by powers of 1000: "0 B", "14 KB", "12.4 MB". */
export function bytes(count: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 999.5 && unit < units.length - 1) {
    count /= 1000;
    unit++;
  }
  return `${count < 99.95 && unit > 1 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

/** What a session's reason tells people: one such as "max_duration: it reached its longest allowed time, 1h" begins with a word for programs. */
export function reasonWords(reason: string): string {
  return sentence(reason.replace(/^(idle|[a-z]+(_[a-z]+)+): /, ""));
}

/** Makes a sentence of a reason such as "the desktop ended by itself". */
export function sentence(words: string): string {
  const text = words.trim();
  if (!text) return "";
  return text[0]!.toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");
}

/** What to call a desktop that nobody named: ids begin with the time, so their ends tell them apart. */
export function desktopName({ id, name }: { id: string; name: string }): string {
  return name || `Desktop ${id.slice(-4)}`;
}

/** What a desktop's state is called. */
export const stateWords: Record<State, string> = {
  pending: "waiting",
  starting: "starting",
  running: "running",
  hibernated: "paused",
  unreachable: "unreachable",
  stopping: "stopping",
  terminated: "ended",
  failed: "failed",
};
