import { api } from "../api/client.ts";
import type { Session } from "../api/types.ts";
import type { Context } from "../app.ts";
import { askAndStop } from "../console/actions.ts";
import { desktopName } from "../text.ts";
import { h, setText } from "../ui/dom.ts";
import { Badge } from "./badge.ts";
import { Chord } from "./chord.ts";
import { Clipboard } from "./clipboard.ts";
import { Connection, type Status } from "./connection.ts";
import { Cover } from "./cover.ts";
import { Screen } from "./screen.ts";
import { openStream, type Trust } from "./stream.ts";
import { helpPanel, toolbar } from "./toolbar.ts";

/** The page of one desktop. */
export function viewerPage(id: string, context: Context, signal: AbortSignal): HTMLElement {
  const screen = new Screen();
  const clipboard = new Clipboard((text) => screen.paste(text), signal);
  const badge = new Badge();
  const name = h("h1", { class: "desktop-name" });
  const trust: Trust = { credentials: {}, keys: new Set() };

  const leave = () => context.go("/");
  const cover = new Cover(
    {
      retry: () => connection.nudge(),
      reconnect: () => context.go(location.pathname),
      create: () => void context.create({}),
      leave,
    },
    signal,
  );
  const page = h("div", { class: "viewer" });
  const bar = toolbar(screen, name, badge.element, {
    leave,
    stop: () => void askAndStop({ id, name: name.textContent ?? "" }, context).then((stopped) => stopped && leave()),
    fullScreen: () => void toggleFullScreen(page),
  });
  page.append(bar, h("main", { class: "stage" }, screen.element, cover.element), clipboard.element, helpPanel());

  const showName = (session: Session) => {
    setText(name, desktopName(session));
    screen.element.setAttribute("aria-label", `${desktopName(session)}. Press and let go of Ctrl+Alt+Shift to leave it.`);
    document.title = `${desktopName(session)} – StreamSpace`;
  };
  const showStatus = (status: Status) => {
    badge.show(status);
    cover.show(status);
    page.dataset["state"] = status.state;
    const { activeElement } = document;
    const idle = !activeElement || activeElement === document.body || cover.element.contains(activeElement);
    if (status.state === "live" && idle) screen.focus();
  };

  const connection = new Connection({
    session: async (signal) => {
      const session = await api.session(id, signal);
      showName(session);
      return session;
    },
    ticket: async (signal) => (await api.ticket(id, signal)).token,
    open: (ticket) => openStream(ticket, screen, trust, (text) => clipboard.received(text)),
    status: showStatus,
  });
  const wake = () => {
    if (document.visibilityState === "visible") connection.nudge();
  };
  window.addEventListener("online", wake, { signal });
  document.addEventListener("visibilitychange", wake, { signal });
  context.changes.listen((change) => change.id === id && connection.nudge(), signal);
  signal.addEventListener("abort", () => void (document.fullscreenElement && document.exitFullscreen()));
  leaveByChord(screen.element, bar);

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
  await keyboard?.lock?.();
}
