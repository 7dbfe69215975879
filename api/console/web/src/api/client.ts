import { EdgeClock } from "./clock.ts";
import type { Agent, Me, Mode, Session, SessionPage, SessionWish, SessionWithStreams, Ticket } from "./types.ts";

/** How long the edge may take to answer, in milliseconds. */
const patience = 10_000;

/** The time at the edge, by its answers. */
export const edgeClock = new EdgeClock();

/** The edge answered with an error (RFC 9457); the message is for people. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    /** How long to wait before asking again, in milliseconds; 0: nothing was said. */
    readonly retryAfter = 0,
  ) {
    super(detail);
  }
}

/** No answer came: the network or the edge is down. */
export class NoAnswer extends Error {
  constructor() {
    super("The server does not answer.");
  }
}

/** The person is not logged in, or no longer. */
export const isLoggedOut = (error: unknown): boolean => error instanceof Problem && error.status === 401;

/** The edge, or its database, is away for a while: asking again helps. */
export const isPassing = (error: unknown): error is Error =>
  error instanceof NoAnswer || (error instanceof Problem && error.status === 503);

/** The caller no longer wants the answer. */
export const isAborted = (error: unknown): boolean => error instanceof DOMException && error.name === "AbortError";

interface Request {
  body?: object;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

async function request<Answer>(method: string, path: string, { body, headers, signal }: Request = {}): Promise<Answer> {
  let response: Response;
  let text: string;
  const asked = Date.now();
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      headers: { ...headers, ...(body && { "Content-Type": "application/json" }) },
      ...(body && { body: JSON.stringify(body) }),
      signal: AbortSignal.any([AbortSignal.timeout(patience), ...(signal ? [signal] : [])]),
    });
    edgeClock.told(response.headers.get("Date"), asked);
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw new DOMException("no longer wanted", "AbortError");
    throw new NoAnswer();
  }
  if (!response.ok) throw problemOf(response, text);
  return (text ? JSON.parse(text) : undefined) as Answer;
}

function problemOf(response: Response, text: string): Problem {
  const retryAfter = Number(response.headers.get("Retry-After")) * 1000 || 0; // a date is nothing that the edge says
  try {
    const { code, detail, title } = JSON.parse(text) as { code?: string; detail?: string; title?: string };
    return new Problem(response.status, code ?? "", detail || title || `The server answered ${response.status}.`, retryAfter);
  } catch {
    // Something between the browser and the edge has answered.
    return new Problem(response.status, "", `The server answered ${response.status} ${response.statusText}.`, retryAfter);
  }
}

const session = (id: string): string => `/sessions/${encodeURIComponent(id)}`;

export const api = {
  me: (signal?: AbortSignal) => request<Me>("GET", "/me", { signal }),
  login: (key: string) => request<void>("POST", "/login", { body: { key } }),
  logout: () => request<void>("DELETE", "/login"),

  sessions: (states: readonly string[], limit: number, signal?: AbortSignal) =>
    request<SessionPage>("GET", `/sessions?state=${states.join()}&limit=${limit}`, { signal }),
  session: (id: string, signal?: AbortSignal) => request<SessionWithStreams>("GET", session(id), { signal }),
  stopSession: (id: string) => request<Session>("DELETE", session(id)),
  ticket: (id: string, mode: Mode, signal?: AbortSignal) => request<Ticket>("POST", `${session(id)}/vnc`, { body: { mode }, signal }),

  /** Asks once more when no answer came; the key makes sure that there is one desktop all the same. */
  async createSession(wish: SessionWish): Promise<Session> {
    const once = { body: wish, headers: { "Idempotency-Key": crypto.randomUUID() } };
    try {
      return await request<Session>("POST", "/sessions", once);
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      return request<Session>("POST", "/sessions", once);
    }
  },

  agents: async (signal?: AbortSignal) => (await request<{ agents: Agent[] }>("GET", "/agents", { signal })).agents,
  drainAgent: (id: string) => request<Agent>("POST", `/agents/${id}/drain`),
  resumeAgent: (id: string) => request<Agent>("POST", `/agents/${id}/resume`),
};
