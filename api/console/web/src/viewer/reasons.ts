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

/** Ending of the page's own: what the person gave as a password was not taken. Only the person can mend it. */
export const wrongPassword = "wrong_password";

/** Ending of a desktop whose agent is away: the edge's word, and the page's own where it reads that. */
export const agentOffline = "agent_offline";

/** What is left after a final ending. */
export interface Finality {
  /** Whether the desktop itself is over, and not only this view of it. */
  over: boolean;
  badge: string;
  title: string;
}

const ended: Finality = { over: true, badge: "Ended", title: "This desktop has ended" };
const failed: Finality = { over: true, badge: "Failed", title: "This desktop has failed" };
const notStarted: Finality = { over: true, badge: "Failed", title: "This desktop did not start" };
const unknown: Finality = { over: true, badge: "Not found", title: "There is no such desktop" };
const disconnected: Finality = { over: false, badge: "Disconnected", title: "Disconnected" };

/** Endings that a new connection from this page can't mend. */
const final: ReadonlyMap<string, Finality> = new Map([
  ["no_such_session", unknown],
  ["session_ended", ended],
  ["session_failed", failed], // of the page's own, as is the next
  ["not_started", notStarted],
  ["idle", ended],
  ["max_duration", ended],
  ["taken_down", ended],
  ["wrong_method", disconnected],
  ["not_websocket", disconnected],
  ["bad_version", disconnected],
  ["bad_handshake", disconnected],
  ["origin_denied", disconnected],
  ["bad_ticket", disconnected],
  ["endpoint_denied", disconnected],
  ["vnc_password", disconnected],
  ["not_vnc", disconnected],
  ["viewer_not_vnc", disconnected],
  ["text_frame", disconnected],
  ["protocol_error", disconnected],
  ["message_too_big", disconnected],
  ["unenforceable", disconnected],
  ["viewer_left", disconnected],
  ["forbidden", disconnected],
  ["declined", disconnected],
  ["security_failed", disconnected], // of the page's own: the VNC server wants nobody, or not this viewer
]);

/** What is left when it is time to give up; undefined: try again. */
export const finality = ({ code }: Ending): Finality | undefined => final.get(code);

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
