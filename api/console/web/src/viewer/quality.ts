import type { Quantiles, StreamQuality } from "../api/types.ts";
import { age, bytes, duration } from "../text.ts";

export type Grade = "good" | "fair" | "poor";

/** What a person is told of a connection. */
export interface Quality {
  /** Undefined while nothing is known. */
  grade: Grade | undefined;
  /** The round trip, for beside the grade. */
  brief: string;
  /** What the grade means, in a sentence. */
  summary: string;
  facts: Fact[];
}

export interface Fact {
  label: string;
  value: string;
  note?: string;
}

const limits = {
  /**
   * The median round trip in milliseconds: up to good it is good, up to fair it
   * is fair. What follows a hand within 0.1 s seems to be moved by it (R. B.
   * Miller, 1968; J. Nielsen, 1993), and the desktop and the browser need some
   * of that for themselves.
   */
  roundTrip: { good: 80, fair: 200 },
  /** How many times the median the 95th percentile may be before the swing is noticed. */
  swing: 3,
  /** In the last minute: a screen that is drawn anew in full may make some. */
  stalls: 30,
};

/**
 * An input that changes nothing to be seen is "answered" by the next change,
 * whenever that comes: so the response is told and not judged, and a median of
 * this many milliseconds, which is that of such input, is not even told.
 */
const unanswered = 1_500;

const minute = 60_000;

interface Reading {
  at: number;
  stream: StreamQuality;
}

/** The readings of one connection over the last minute, newest last. */
export class Readings {
  private readings: Reading[] = [];

  /** Takes what the edge has counted up to now. Another connection begins anew. */
  add(stream: StreamQuality, at: number = Date.now()): void {
    if (this.newest?.stream.ticket !== stream.ticket) this.readings = [];
    // One that is older than a minute stays, to compare the newest with.
    while (this.readings[1] && at - this.readings[1].at >= minute) this.readings.shift();
    this.readings.push({ at, stream });
  }

  get quality(): Quality {
    const { newest } = this;
    if (!newest) return { grade: undefined, brief: "", summary: "Measuring…", facts: [] };
    const { rtt_ms: rtt, gap_ms: gap, bytes_to_viewer, bytes_from_viewer, stalls } = newest.stream;
    const { response_ms } = newest.stream;
    const response = response_ms && response_ms.p50 < unanswered ? response_ms : null;
    const { grade, summary } = judge(rtt, this.recently(({ stalls }) => stalls, minute));
    const rate = this.recently(({ bytes_to_viewer }) => bytes_to_viewer, 1000, 1);
    return {
      grade,
      brief: rtt ? duration(rtt.p50) : "",
      summary,
      facts: [
        { label: "Round trip", value: spread(rtt), note: "to the server and back" },
        { label: "Response", value: spread(response), note: "from an input to the next update" },
        { label: "Updates", value: gap ? perSecond(gap.p50) : "–", note: "while the picture moves" },
        { label: "Stalls", value: stalls === 0 ? "none" : String(stalls), note: "times the picture had to wait for the network" },
        { label: "Received", value: bytes(bytes_to_viewer), ...(rate !== undefined && { note: `${bytes(rate)} a second now` }) },
        { label: "Sent", value: bytes(bytes_from_viewer) },
        { label: "Connected", value: age(newest.stream.since, newest.at) === "now" ? "just now" : `for ${age(newest.stream.since, newest.at)}` },
      ],
    };
  }

  private get newest(): Reading | undefined {
    return this.readings.at(-1);
  }

  /** By how much a count has grown per span, over the last readings or all; undefined: there is one reading only. */
  private recently(count: (stream: StreamQuality) => number, span: number, last = Infinity): number | undefined {
    const { newest } = this;
    const from = this.readings[Math.max(0, this.readings.length - 1 - last)];
    if (!newest || !from || from === newest) return undefined;
    return ((count(newest.stream) - count(from.stream)) / (newest.at - from.at)) * span;
  }
}

/** The grade is that of the worst part, which the summary names. */
function judge(rtt: Quantiles | null, stalls = 0): Pick<Quality, "grade" | "summary"> {
  if (!rtt) return { grade: undefined, summary: "Measuring…" };
  const { good, fair } = limits.roundTrip;
  if (rtt.p50 > fair) return { grade: "poor", summary: `The network is slow: ${duration(rtt.p50)} there and back.` };
  if (rtt.p50 > good) return { grade: "fair", summary: `The network takes a noticeable time: ${duration(rtt.p50)} there and back.` };
  const swings = rtt.p95 > good && rtt.p95 > limits.swing * rtt.p50;
  if (swings) return { grade: "fair", summary: `The network is uneven: 1 of 20 round trips takes over ${duration(rtt.p95)}.` };
  if (stalls > limits.stalls) return { grade: "fair", summary: "The picture changes faster than the network takes it." };
  return { grade: "good", summary: "The desktop follows your hand." };
}

function spread(times: Quantiles | null): string {
  if (!times) return "–";
  const [middle, most] = [duration(times.p50), duration(times.p95)];
  return middle === most ? middle : `${middle}, seldom over ${most}`;
}

function perSecond(gap: number): string {
  const rate = 1000 / Math.max(gap, 1);
  return `about ${rate < 10 ? rate.toFixed(1) : Math.round(rate)} a second`;
}
