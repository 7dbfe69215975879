import type { Mode } from "../api/types.ts";

/** Why a stream ended, or could not begin: a stable word (proxy/reason.go) and what to tell a person. */
export interface Ending {
  code: string;
  words: string;
  /** How long to wait before another try at least, in milliseconds; nothing: not told. */
  retryAfter?: number;
}

/** Endings of the page's own: the edge could say nothing, or was not asked. */
export const lost: Ending = { code: "lost", words: "The connection was lost." };
export const refused: Ending = { code: "refused", words: "The server refused the connection." };
export const silent: Ending = { code: "silent", words: "The connection went silent." };
export const unreadable: Ending = { code: "unreadable", words: "The picture could not be read." };
export const declined: Ending = { code: "declined", words: "The desktop asked for a password." };

/** Endings that a new connection from this page can't mend, with whether the desktop itself is over. */
const final: ReadonlyMap<string, "over" | "there"> = new Map([
  ["no_such_session", "over"],
  ["session_ended", "over"],
  ["idle", "over"],
  ["max_duration", "over"],
  ["taken_down", "over"],
  ["wrong_method", "there"],
  ["not_websocket", "there"],
  ["bad_version", "there"],
  ["bad_handshake", "there"],
  ["origin_denied", "there"],
  ["bad_ticket", "there"],
  ["endpoint_denied", "there"],
  ["not_vnc", "there"],
  ["vnc_password", "there"],
  ["viewer_not_vnc", "there"],
  ["text_frame", "there"],
  ["protocol_error", "there"],
  ["message_too_big", "there"],
  ["unenforceable", "there"],
  ["viewer_left", "there"],
  ["forbidden", "there"],
  ["declined", "there"],
]);

/** Tells whether to give up. */
export const isFinal = ({ code }: Ending): boolean => final.has(code);

/** Tells whether the desktop has ended, and not only this view of it. */
export const isOver = ({ code }: Ending): boolean => final.get(code) === "over";

/** Endings by which somebody else's viewers keep this one out. */
const crowded: ReadonlySet<string> = new Set(["limit_reached", "session_limit_reached", "user_limit_reached"]);

/** Tells whether there is no room now, and may be when others leave. */
export const isCrowded = ({ code }: Pick<Ending, "code">): boolean => crowded.has(code);

/** What to tell a person who came to look, or to control. */
export function explain({ code, words }: Ending, mode: Mode): string {
  if (code !== "unenforceable") return words;
  return mode === "view"
    ? "This desktop's VNC server hides what is typed, so a view-only connection can't be guaranteed. Open it to control it, or ask its operator for a VNC server without encryption of its own."
    : "Pasting into desktops is off on this installation, and this desktop's VNC server hides what is pasted. Ask its operator for a VNC server without encryption of its own.";
}

/** Close code 1005: no status was given (RFC 6455 section 7.4.1). */
const noStatus = 1005;

/**
 * Reads a close event. The edge's reason is "word: what a person should know".
 * Without one it is noVNC that closed, with no status, or the browser that
 * noticed the loss.
 */
export function endingOf(close: { code: number; reason: string }, wasLive: boolean): Ending {
  const [, code, words] = /^([a-z_]+): (.+)$/s.exec(close.reason) ?? [];
  if (code && words) return { code, words };
  if (close.reason) return { code: "other", words: close.reason };
  if (close.code === noStatus) return unreadable;
  return wasLive ? lost : refused;
}
