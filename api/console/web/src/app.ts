import { Changes } from "./api/changes.ts";
import { api, isAborted, isLoggedOut, isPassing } from "./api/client.ts";
import type { Me, SessionWish } from "./api/types.ts";
import { Backoff } from "./backoff.ts";
import { consolePage } from "./console/console.ts";
import { loginPage } from "./login.ts";
import { h } from "./ui/dom.ts";
import { sentence } from "./text.ts";
import { Notices } from "./ui/notices.ts";
import { viewerPage } from "./viewer/viewer.ts";

/** What a page of a logged-in person can use. */
export interface Context {
  me: Me;
  changes: Changes;
  go(path: string): void;
  /** Creates a desktop and shows it. */
  create(wish: SessionWish): Promise<void>;
  /** Tells the person, or asks for the log-in if that is what was missing. */
  failed(error: unknown): void;
  logOut(): Promise<void>;
}

/** The single page: shows what the address names, to people who are logged in. */
export class App implements Omit<Context, "me" | "changes"> {
  private readonly notices = new Notices();
  /** Ends what the page that is shown has running. */
  private page = new AbortController();
  /** Ends what runs from log-in to log-out; undefined when logged out. */
  private visit: { me: Me; changes: Changes; end: AbortController } | undefined;

  constructor(private readonly root: HTMLElement) {}

  start(): void {
    window.addEventListener("popstate", () => void this.show());
    // Browsers may keep a page that was left, connections and all, to come back to it.
    window.addEventListener("pagehide", () => {
      this.page.abort();
      this.endVisit();
    });
    window.addEventListener("pageshow", ({ persisted }) => persisted && void this.show());
    void this.show();
  }

  go(path: string): void {
    if (path === location.pathname + location.search) history.replaceState(null, "", path);
    else history.pushState(null, "", path);
    void this.show();
  }

  async create(wish: SessionWish): Promise<void> {
    try {
      const { id } = await api.createSession(wish);
      this.go(`/desktop/${id}`);
    } catch (error) {
      this.failed(error);
    }
  }

  failed(error: unknown): void {
    if (isAborted(error)) return;
    if (isLoggedOut(error)) {
      this.endVisit();
      void this.show();
      return;
    }
    this.notices.tell(sentence(error instanceof Error ? error.message : String(error)));
  }

  async logOut(): Promise<void> {
    try {
      await api.logout();
    } catch (error) {
      return this.failed(error);
    }
    this.endVisit();
    this.go("/");
  }

  /** Shows the page of the address, after the log-in if need be. */
  private async show(): Promise<void> {
    const signal = this.nextPage();
    if (!this.visit) {
      const login = loginPage(() => void this.show());
      if (!this.notices.element.isConnected) {
        // The first page. Unseen, it takes what is typed before it is known whether it is needed.
        login.classList.add("ahead");
        this.put(login);
      }
      try {
        this.visit = await this.beginVisit(signal);
      } catch (error) {
        if (isAborted(error)) return;
        if (!isLoggedOut(error)) return this.failed(error);
        login.classList.remove("ahead");
        if (!login.isConnected) this.put(login);
        return;
      }
    }
    if (signal.aborted) return;
    const context: Context = { ...this.visit, ...this.actions() };
    const desktop = /^\/desktop\/([^/]+)$/.exec(location.pathname)?.[1];
    const mode = new URLSearchParams(location.search).get("mode") === "view" ? "view" : "control";
    this.put(desktop ? viewerPage(decodeURIComponent(desktop), mode, context, signal) : consolePage(context, signal));
  }

  private nextPage(): AbortSignal {
    this.page.abort();
    this.page = new AbortController();
    this.notices.hide(); // it is of the page before
    document.title = "StreamSpace";
    return this.page.signal;
  }

  private put(page: HTMLElement): void {
    this.root.replaceChildren(page, this.notices.element);
    page.querySelector<HTMLElement>("[data-autofocus]")?.focus();
  }

  /** Asks until the server says who the person is, or that nobody is logged in. */
  private async beginVisit(signal: AbortSignal): Promise<NonNullable<App["visit"]>> {
    const backoff = new Backoff();
    for (;;) {
      try {
        const me = await api.me(signal);
        const end = new AbortController();
        return { me, changes: new Changes(end.signal), end };
      } catch (error) {
        if (!isPassing(error)) throw error;
        this.put(waitingPage(error.message));
        await new Promise((resolve) => setTimeout(resolve, backoff.next()));
      }
    }
  }

  private endVisit(): void {
    this.visit?.end.abort();
    this.visit = undefined;
  }

  private actions(): Omit<Context, "me" | "changes"> {
    return {
      go: (path) => this.go(path),
      create: (wish) => this.create(wish),
      failed: (error) => this.failed(error),
      logOut: () => this.logOut(),
    };
  }
}

function waitingPage(words: string): HTMLElement {
  return h(
    "main",
    { class: "centred" },
    h(
      "div",
      { class: "card message", role: "status", "data-testid": "waiting" },
      h("div", { class: "spinner", "aria-hidden": "true" }),
      h("h1", {}, "One moment"),
      h("p", {}, `${sentence(words)} Trying again…`),
    ),
  );
}
