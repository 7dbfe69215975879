// What the edge's API sends; api/openapi.yaml says it in full.

export type State =
  | "pending"
  | "starting"
  | "running"
  | "hibernated"
  | "unreachable"
  | "stopping"
  | "terminated"
  | "failed";

export interface Session {
  id: string;
  name: string;
  org: string;
  owner: string;
  state: State;
  desired_state: State;
  /** Why it is in this state, in words; empty when all is well. */
  reason: string;
  /** Empty until it is placed. */
  agent_id: string;
  runtime: string;
  /** host:port of a direct session, else empty. */
  endpoint: string;
  width: number;
  height: number;
  viewers: number;
  created_at: string | null;
  expires_at: string | null;
}

export interface SessionPage {
  sessions: Session[];
  /** Empty on the last page. */
  next_cursor: string;
}

/** What a new desktop may ask for; what is left out gets the runtime's default. */
export interface SessionWish {
  name?: string;
  runtime?: string;
  width?: number;
  height?: number;
}

export interface Ticket {
  /** A credential, good for one connection. */
  token: string;
}

export interface Agent {
  id: string;
  name: string;
  status: "online" | "draining" | "offline";
  active_sessions: number;
  capacity: number;
  runtimes: { name: string; slots?: number }[];
  version: string;
  last_heartbeat: string | null;
}

export interface Hint {
  code: string;
  text: string;
  /** What to run, to be copied. */
  command?: string;
}

export interface Me {
  name: string;
  org: string;
  owner: string;
  role: "admin" | "user";
  version: string;
  hints: Hint[];
}

export interface Change {
  /** resync: changes were missed, read everything again. */
  type: "session" | "agent" | "node" | "pool" | "resync";
  id?: string;
  state?: string;
}
