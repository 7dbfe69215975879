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
  /** When it ends by itself, told shortly before; null while that is not near. */
  ends_at: string | null;
  ends_because: EndsBecause;
}

/** Why a desktop ends by itself; empty when it does not. */
export type EndsBecause = "" | "idle_timeout" | "max_duration";

export interface SessionWithStreams extends Session {
  streams: StreamQuality[];
}

/** One viewer's connection and how well it serves, from its start to now. */
export interface StreamQuality {
  /** The id of the ticket that opened it. */
  ticket: string;
  since: string;
  /** From a ping to its answer. */
  rtt_ms: Quantiles | null;
  /** From an input to the next update. */
  response_ms: Quantiles | null;
  /** Between updates, while the picture moves. */
  gap_ms: Quantiles | null;
  /** Times that the viewer could not take what there was for it. */
  stalls: number;
  bytes_to_viewer: number;
  bytes_from_viewer: number;
}

export interface Quantiles {
  p50: number;
  p95: number;
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
  /** What its host must carry. `endpoint`: the name of a VNC server that exists already. */
  labels?: { endpoint: string };
}

/** What a viewer may do. */
export type Mode = "control" | "view";

export interface Ticket {
  /** A credential, good for one connection. */
  token: string;
  /** No secret: names the connection among the session's streams. */
  id: string;
  /** Whether what is pasted here reaches the desktop. */
  clipboard_in: boolean;
  /** Why it would open nothing now; retry_after in seconds. */
  not_now: { code: string; detail: string; retry_after: number } | null;
}

export interface Agent {
  id: string;
  name: string;
  status: "online" | "draining" | "offline";
  active_sessions: number;
  /** How many desktops its host can bear; room of them are given out. */
  capacity: number;
  room: number;
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
  /** Names of those that a new desktop may have now. */
  runtimes: string[];
  /** Names of the VNC servers that exist already and that a new desktop may ask for. */
  endpoints: string[];
  hints: Hint[];
}

export type Change = SessionChange | OtherChange;

/** Tells of a session that is new or other than before; also of viewers that came or went. */
export interface SessionChange {
  type: "session";
  id: string;
  state: State;
  /** Of an end that is announced; a change without one takes that back. */
  ends_at?: string;
  ends_because?: EndsBecause;
  /** Its agent has just come back, whatever the state was before. */
  agent_up?: boolean;
}

export interface OtherChange {
  /** resync: changes were missed, read everything again. */
  type: "agent" | "node" | "pool" | "resync";
  id?: string;
}
