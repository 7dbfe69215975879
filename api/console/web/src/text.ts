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
