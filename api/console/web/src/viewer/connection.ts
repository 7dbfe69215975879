import { isAborted, isLoggedOut, NoAnswer, Problem } from "../api/client.ts";
import type { Session, State, Ticket } from "../api/types.ts";
import { Backoff } from "../backoff.ts";
import { reasonWords, sentence } from "../text.ts";
import { agentOffline, finality, lost, wrongPassword, type Ending } from "./reasons.ts";

/** One try to show the desktop: a WebSocket and the picture drawn from it. */
export interface Stream {
  /** Settles when the picture is there; never, when the stream ends before. */
  live: Promise<void>;
  ended: Promise<Ending>;
  close(): void;
}

export type Status =
  | { state: "connecting"; words: string }
  | { state: "live" }
  | { state: "reconnecting"; words: string; code: string; retryAt: number | undefined } // undefined: trying now
  | { state: "ended"; ending: Ending };

export interface Needs {
  session(signal: AbortSignal): Promise<Session>;
  ticket(signal: AbortSignal): Promise<Ticket>;
  open(ticket: Ticket): Stream;
  /** Called at each change of status. */
  status(status: Status): void;
  random?: () => number;
}

/** Times in milliseconds. */
const pollWhileStarting = 250;
const settled = 5_000; // a stream that lived this long was a good one: start over with short waits
const handOver = 100; // after an edge that leaves: it has spread its viewers over seconds itself

/** Keeps one desktop in view: connects, and connects again after whatever can be mended. */
export class Connection {
  private readonly backoff: Backoff;
  private readonly random: () => number;
  private wake = () => {};
  private wasLive = false;
  /** Whether the last attempt has shown the desktop. */
  private shown = false;
  /** The desktop's state as last read, and as the last event told it; undefined before the first time. */
  private state: State | undefined;
  private told: State | undefined;
  private starts = false;
  /** Whether it pauses because the desktop's agent was away. */
  private awaitsAgent = false;

  constructor(private readonly needs: Needs) {
    this.random = needs.random ?? Math.random;
    this.backoff = new Backoff(this.random);
  }

  /** Returns when the desktop has ended for good, or the signal aborts. Throws when the person is logged out. */
  async run(signal: AbortSignal): Promise<void> {
    this.needs.status({ state: "connecting", words: "Connecting…" });
    while (!signal.aborted) {
      const ending = await this.attempt(signal);
      if (!ending || signal.aborted) return;
      if (finality(ending)) {
        this.needs.status({ state: "ended", ending });
        return;
      }
      await this.pause(ending, signal);
    }
  }

  /** Ends a pause: something has changed that makes another try worthwhile now. */
  nudge(): void {
    this.wake();
  }

  /**
   * Takes the desktop's state from an event. Only one that is news ends a pause:
   * events also tell of viewers that come and go, and each attempt is one. What
   * the last event told is no news even if it is not what was read since, or
   * events that contradict it would leave no pause at all.
   */
  heard(state: State): void {
    const isNews = state !== this.state && state !== this.told;
    this.told = state;
    if (isNews) this.wake();
  }

  /**
   * Ends a pause that is there because the agent was away: it is back, or may
   * be. Any other ending has nothing to do with the agent.
   */
  agentBack(): void {
    if (this.awaitsAgent) this.wake();
  }

  /** Connects once and returns why that ended; undefined when the signal aborted. */
  private async attempt(signal: AbortSignal): Promise<Ending | undefined> {
    let stream: Stream | undefined;
    this.shown = false;
    const close = () => stream?.close();
    signal.addEventListener("abort", close);
    try {
      const hindrance = await this.ready(signal);
      if (hindrance) return hindrance;
      const ticket = await this.needs.ticket(signal);
      if (ticket.not_now) return endingOfNotNow(ticket.not_now);
      stream = this.needs.open(ticket);
      return await this.show(stream);
    } catch (error) {
      if (isAborted(error)) return undefined;
      return endingOfError(error);
    } finally {
      signal.removeEventListener("abort", close);
    }
  }

  private async show(stream: Stream): Promise<Ending> {
    let liveSince = Infinity;
    void stream.live.then(() => {
      liveSince = Date.now();
      this.wasLive = true;
      this.shown = true;
      this.needs.status({ state: "live" });
    });
    const ending = await stream.ended;
    if (Date.now() - liveSince >= settled) this.backoff.reset();
    return ending;
  }

  /** Waits while the desktop starts; returns what keeps it from being shown. */
  private async ready(signal: AbortSignal): Promise<Ending | undefined> {
    for (;;) {
      const { state, reason } = await this.needs.session(signal);
      this.state = state;
      const started = !this.starts;
      this.starts = state === "pending" || state === "starting";
      switch (state) {
        case "running":
          return undefined;
        case "pending":
        case "starting":
          this.trying(reasonWords(reason) || "Starting…");
          await this.sleep(pollWhileStarting, signal);
          if (signal.aborted) return lost;
          break;
        case "unreachable":
          return { code: agentOffline, words: reasonWords(reason) || "The desktop's host is offline." };
        case "hibernated":
          return { code: "hibernated", words: reasonWords(reason) || "The desktop is paused." };
        case "failed":
          return { code: started ? "session_failed" : "not_started", words: reasonWords(reason) || "The reason is not known." };
        case "stopping":
        case "terminated":
          return { code: "session_ended", words: reasonWords(reason) || "It was stopped." };
      }
    }
  }

  /** Tells that an attempt goes on, and what it waits for. */
  private trying(words: string): void {
    this.needs.status(
      this.wasLive ? { state: "reconnecting", words, code: "session_starting", retryAt: undefined } : { state: "connecting", words },
    );
  }

  private async pause({ code, words, retryAfter = 0 }: Ending, signal: AbortSignal): Promise<void> {
    if (code === "session_starting") {
      this.trying(words);
      await this.sleep(pollWhileStarting, signal);
      return;
    }
    if (code === wrongPassword) {
      this.needs.status({ state: "reconnecting", words, code, retryAt: undefined });
      return; // the person is asked again, and may take their time
    }
    const wait = code === "node_draining" ? this.untilElsewhere() : retryAfter + this.backoff.next();
    this.needs.status({ state: "reconnecting", words, code, retryAt: Date.now() + wait });
    this.awaitsAgent = code === agentOffline;
    await this.sleep(wait, signal);
    this.awaitsAgent = false;
    this.needs.status({ state: "reconnecting", words, code, retryAt: undefined });
  }

  /** Another edge serves at once; the one that leaves may be asked again, where there is no other yet. */
  private untilElsewhere(): number {
    return this.shown ? handOver * this.random() : this.backoff.next();
  }

  private sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        this.wake = () => {};
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      signal.addEventListener("abort", done);
      this.wake = done;
      if (signal.aborted) done();
    });
  }
}

function endingOfNotNow({ code, detail, retry_after }: NonNullable<Ticket["not_now"]>): Ending {
  return { code, words: sentence(detail), retryAfter: retry_after * 1000 };
}

/** What an API call's failure means for the viewer. Throws what it can't explain. */
function endingOfError(error: unknown): Ending {
  if (error instanceof NoAnswer) return { code: "no_answer", words: error.message };
  if (!(error instanceof Problem) || isLoggedOut(error)) throw error;
  const words = sentence(error.message);
  switch (error.status) {
    case 400: // the id in the page's address is not an id
    case 404:
      return { code: "no_such_session", words: "It may have ended a while ago, or belong to somebody else." };
    case 403:
      return { code: "forbidden", words };
    case 409:
      return { code: "session_ended", words: "It was stopped." };
    default:
      return { code: error.code || "unavailable", words, retryAfter: error.retryAfter };
  }
}
