import { Backoff } from "../backoff.ts";
import type { Change } from "./types.ts";

/** How often everything is read again, in milliseconds. */
const whileUp = 30_000; // a socket can be dead without the browser noticing
const whileDown = 5_000;

type Listener = (change: Change) => void;

/**
 * Tells of what changes at the edge: at once while its event socket is up, and
 * by a "resync" now and then whether or not it is.
 */
export class Changes {
  private readonly listeners = new Set<Listener>();
  private readonly backoff = new Backoff();
  private up = false;
  private timer = 0;

  /** Runs until the signal aborts. */
  constructor(private readonly signal: AbortSignal) {
    const wake = () => {
      if (document.visibilityState === "visible") this.resync();
    };
    window.addEventListener("online", wake, { signal });
    document.addEventListener("visibilitychange", wake, { signal });
    signal.addEventListener("abort", () => clearTimeout(this.timer));
    this.connect();
    this.schedule();
  }

  /** Calls the listener for each change until the signal aborts. */
  listen(listener: Listener, signal: AbortSignal): void {
    this.listeners.add(listener);
    signal.addEventListener("abort", () => this.listeners.delete(listener));
  }

  private connect(): void {
    if (this.signal.aborted) return;
    const socket = new WebSocket(webSocketURL("/api/v1/events"));
    const close = () => socket.close();
    this.signal.addEventListener("abort", close);
    socket.onopen = () => {
      this.up = true;
      this.backoff.reset();
      this.resync(); // what happened before the socket was up
    };
    socket.onmessage = (event) => this.tell(JSON.parse(event.data as string) as Change);
    socket.onclose = () => {
      this.signal.removeEventListener("abort", close);
      if (this.signal.aborted) return;
      if (this.up) this.resync();
      this.up = false;
      setTimeout(() => this.connect(), this.backoff.next());
    };
  }

  private resync(): void {
    this.tell({ type: "resync" });
    this.schedule();
  }

  private schedule(): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.resync(), this.up ? whileUp : whileDown);
  }

  private tell(change: Change): void {
    for (const listener of this.listeners) listener(change);
  }
}

/** The address of a WebSocket at the server that the page came from. */
export function webSocketURL(path: string): string {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}
