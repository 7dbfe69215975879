import { webSocketURL } from "../api/changes.ts";
import { sentence } from "../text.ts";
import { askFor, confirm } from "../ui/dialog.ts";
import type { Stream } from "./connection.ts";
import { declined, endingOf, silent, wrongPassword, type Ending } from "./reasons.ts";
import type { Screen } from "./screen.ts";
import { Watchdog } from "./watchdog.ts";

/** What a VNC server wants to know, kept for as long as the page is open. */
export interface Trust {
  credentials: Record<string, string>;
  /** Why it did not take what the person gave last; empty: it did, or was given nothing. */
  refusal: string;
  /** Fingerprints of servers' keys that the person has accepted. */
  keys: Set<string>;
}

/**
 * A FramebufferUpdateRequest for one pixel, not incremental (RFC 6143 section
 * 7.5.3): the smallest message that a VNC server must answer.
 */
const onePixel = new Uint8Array([3, 0, 0, 0, 0, 0, 0, 1, 0, 1]);

/**
 * Opens a stream and draws it. The socket is made here and not by noVNC, which
 * would hide why it closed. The ticket goes as a subprotocol: URLs end up in logs.
 */
export function openStream(token: string, screen: Screen, trust: Trust, clipboard: (text: string) => void): Stream {
  const socket = new WebSocket(webSocketURL("/ws/vnc"), ["binary", token]);
  const rfb = screen.attach(socket, trust.credentials);
  const over = new AbortController();
  let isLive = false;
  let asking = false;

  const watchdog = new Watchdog(
    () => {
      if (isLive && socket.readyState === WebSocket.OPEN) socket.send(onePixel);
      else if (asking) watchdog.heard(); // it is the person who is silent
    },
    () => end(silent),
  );
  window.addEventListener("offline", () => watchdog.doubt(), { signal: over.signal });
  socket.addEventListener("message", () => watchdog.heard());
  socket.addEventListener("close", (event) => end(endingOf(event, isLive)));

  let endedBy: (ending: Ending) => void;
  const ended = new Promise<Ending>((resolve) => (endedBy = resolve));
  const end = (ending: Ending) => {
    if (over.signal.aborted) return;
    over.abort();
    watchdog.stop();
    if (socket.readyState !== WebSocket.CLOSED) rfb.disconnect(); // else it has noticed by itself
    endedBy(ending);
  };

  const live = new Promise<void>((resolve) =>
    rfb.addEventListener("connect", () => {
      isLive = true;
      trust.refusal = "";
      resolve();
    }),
  );
  rfb.addEventListener("clipboard", ({ detail }) => clipboard(detail.text));

  const ask = async <Answer>(question: Promise<Answer>): Promise<Answer> => {
    asking = true;
    const answer = await question;
    asking = false;
    return answer;
  };
  rfb.addEventListener("credentialsrequired", async ({ detail }) => {
    const answers = await ask(askForCredentials(detail.types, trust.refusal, over.signal));
    if (over.signal.aborted) return;
    if (!answers) return end(declined);
    trust.credentials = answers;
    rfb.sendCredentials(answers);
  });
  rfb.addEventListener("securityfailure", ({ detail }) => {
    const said = detail.reason ? `: ${detail.reason}` : ".";
    if (Object.keys(trust.credentials).length === 0) return end({ code: "security_failed", words: `The desktop's VNC server refused the connection${said}` });
    trust.credentials = {};
    trust.refusal = `The VNC server did not accept that${said}`;
    end({ code: wrongPassword, words: trust.refusal });
  });
  rfb.addEventListener("serververification", async ({ detail }) => {
    const key = await fingerprint(detail.publickey);
    const accepted = trust.keys.has(key) || (await ask(confirmKey(key)));
    if (over.signal.aborted) return;
    if (!accepted) return end(declined);
    trust.keys.add(key);
    rfb.approveServer();
  });

  return { live, ended, close: () => end({ code: "viewer_left", words: "The viewer was closed." }) };
}

function askForCredentials(types: string[], refusal: string, signal: AbortSignal): Promise<Record<string, string> | undefined> {
  const labels: Record<string, string> = { username: "User name", password: "Password", target: "Target" };
  return askFor(
    "The desktop asks who you are",
    "Its VNC server wants a log-in of its own. It is kept until you leave or reload this page.",
    types.map((name) => ({ name, label: labels[name] ?? name, secret: name === "password" })),
    sentence(refusal),
    signal,
  );
}

function confirmKey(key: string): Promise<boolean> {
  return confirm({
    title: "Is this the right desktop?",
    text: `Its VNC server shows a key with the SHA-256 fingerprint ${key}.`,
    confirm: "It is",
  });
}

async function fingerprint(key: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", key));
  return Array.from(digest.slice(0, 16), (byte) => byte.toString(16).padStart(2, "0")).join(":");
}
