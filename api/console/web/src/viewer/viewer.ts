import { api } from "../api/client.ts";
import type { Mode, SessionWithStreams } from "../api/types.ts";
import type { Context } from "../app.ts";
import { askAndStop } from "../console/actions.ts";
import { Poll } from "../poll.ts";
import { desktopName } from "../text.ts";
import { h, setText } from "../ui/dom.ts";
import { Badge } from "./badge.ts";
import { Chord } from "./chord.ts";
import { Clipboard } from "./clipboard.ts";
import { Connection, type Status } from "./connection.ts";
import { Cover } from "./cover.ts";
import { helpPanel } from "./help.ts";
import { Screen } from "./screen.ts";
import { openStream, type Trust } from "./stream.ts";
import { Toolbar, viewOnlyMark } from "./toolbar.ts";
import { TouchKeyboard } from "./touchkeyboard.ts";
import { Warning, type Announced } from "./warning.ts";

/** How often the figures of the connection are read, in milliseconds. */
const pace = {
  toBegin: 2_000, // until there are some
  inPassing: 15_000,
  watched: 5_000, // while they are looked at
};

/** The page of one desktop. */
export function viewerPage(id: string, mode: Mode, context: Context, signal: AbortSignal): HTMLElement {
  const screen = new Screen(mode);
  const clipboard = new Clipboard(mode, (text) => screen.paste(text), signal);
  const warning = new Warning(mode, signal);
  let closely = false;
  const badge = new Badge((open) => {
    closely = open;
    setPace();
  });
  const name = h("h1", { class: "desktop-name" });
  const trust: Trust = { credentials: {}, refusal: "", keys: new Set() };

  const leave = () => context.go("/");
  const control = () => context.go(`/desktop/${encodeURIComponent(id)}`);
  const cover = new Cover(
    mode,
    {
      retry: () => connection.nudge(),
      reconnect: () => context.go(location.pathname + location.search),
      control,
      create: () => void context.create({}),
      leave,
    },
    signal,
  );
  const page = h("div", { class: "viewer" });
  const marks = h("div", { class: "marks" }, badge.element, mode === "view" && viewOnlyMark());
  const keyboard = new TouchKeyboard((keysym) => screen.press(keysym), (up) => (screen.focusOnClick = !up));
  const bar = new Toolbar(mode, screen, name, marks, {
    leave,
    control,
    stop: () => void askAndStop({ id, name: name.textContent ?? "", endpoint }, context).then((stopped) => stopped && leave()),
    fullScreen: () => void toggleFullScreen(page).then(() => screen.focus()),
    keyboard: () => keyboard.toggle(),
  });
  const stage = h("main", { class: "stage" }, screen.element, mode === "control" && keyboard.element, cover.element, warning.element);
  page.append(bar.element, stage, badge.panel, clipboard.element, helpPanel());

  let ended = false;
  let endpoint = "";
  let heard = 0; // announcements by events
  let ticketID = "";
  const announced = (end: Announced) => warning.show(ended ? {} : end);
  /** Reads the session and shows what it tells. */
  const follow = async (signal: AbortSignal): Promise<SessionWithStreams> => {
    const before = heard;
    const session = await api.session(id, signal);
    endpoint = session.endpoint;
    const words = desktopName(session);
    setText(name, words);
    screen.element.setAttribute("aria-label", mode === "view" ? words : `${words}. Press and let go of Ctrl+Alt+Shift to leave it.`);
    document.title = `${words} – StreamSpace`;
    if (before === heard) announced(session); // else an event has overtaken the answer
    const mine = session.streams.find(({ ticket }) => ticket === ticketID);
    if (mine) badge.measured(mine);
    return session;
  };
  const poll = new Poll(async () => {
    await follow(signal).catch(() => {}); // the connection finds out what is wrong
    setPace();
  }, signal);
  const setPace = () => {
    const known = closely ? pace.watched : pace.inPassing;
    poll.pace = page.dataset["state"] !== "live" ? undefined : badge.knows ? known : pace.toBegin;
  };

  const showStatus = (status: Status) => {
    badge.show(status);
    cover.show(status);
    bar.show(status);
    if (status.state === "ended") {
      ended = true;
      announced({});
    }
    page.dataset["state"] = status.state;
    setPace();
    const { activeElement } = document;
    const idle = !activeElement || activeElement === document.body || cover.element.contains(activeElement);
    if (status.state === "live" && idle) screen.focus();
  };

  const connection = new Connection({
    session: follow,
    ticket: async (signal) => {
      const ticket = await api.ticket(id, mode, signal);
      ticketID = ticket.id;
      clipboard.allowIn(ticket.clipboard_in);
      return ticket;
    },
    open: ({ token }) => openStream(token, screen, trust, (text) => clipboard.received(text)),
    status: showStatus,
  });
  const wake = () => {
    if (document.visibilityState === "visible") connection.nudge();
  };
  window.addEventListener("online", wake, { signal });
  document.addEventListener("visibilitychange", wake, { signal });
  context.changes.listen((change) => {
    if (change.type === "resync") {
      poll.now();
      connection.agentBack(); // the event that would tell may be among what was missed
    }
    if (change.type !== "session" || change.id !== id) return;
    heard++;
    announced(change);
    connection.heard(change.state);
    if (change.agent_up) connection.agentBack();
  }, signal);
  signal.addEventListener("abort", () => void (document.fullscreenElement && document.exitFullscreen()));
  if (mode === "control") leaveByChord(screen.element, bar.element);

  connection.run(signal).catch((error: unknown) => context.failed(error));
  return page;
}

/** Lets Ctrl+Alt+Shift move the focus from the desktop, which takes every other key, to the toolbar. */
function leaveByChord(desktop: HTMLElement, bar: HTMLElement): void {
  const chord = new Chord();
  desktop.addEventListener("keydown", (event) => chord.down(event), { capture: true });
  desktop.addEventListener("keyup", (event) => {
    // After noVNC has seen the release.
    if (chord.up(event)) setTimeout(() => bar.querySelector<HTMLElement>("a, button")?.focus());
  }, { capture: true });
}

async function toggleFullScreen(page: HTMLElement): Promise<void> {
  if (document.fullscreenElement) return document.exitFullscreen();
  await page.requestFullscreen({ navigationUI: "hide" });
  // Where browsers offer it, keys such as Alt+Tab then go to the desktop, too.
  const { keyboard } = navigator as Navigator & { keyboard?: { lock?(): Promise<void> } };
  await keyboard?.lock?.().catch(() => {}); // full screen was left in the meantime
}
