import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { NoAnswer, Problem } from "../api/client.ts";
import type { Session, State, Ticket } from "../api/types.ts";
import { Connection, type Needs, type Status, type Stream } from "./connection.ts";
import { lost, wrongPassword, type Ending } from "./reasons.ts";

/** A stream whose other end is the test. */
class FakeStream implements Stream {
  goLive!: () => void;
  end!: (ending: Ending) => void;
  closed = false;
  readonly live = new Promise<void>((resolve) => (this.goLive = resolve));
  readonly ended = new Promise<Ending>((resolve) => (this.end = resolve));
  close() {
    this.closed = true;
    this.end({ code: "viewer_left", words: "" });
  }
}

const ticket = (token: string): Ticket => ({ token, id: token, clipboard_in: true, not_now: null });

/** An edge with one session, a clock, and a page that looks on. */
function setUp(t: TestContext, overrides: Partial<Needs> = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const world = {
    state: "running" as State,
    reason: "",
    tickets: 0,
    streams: [] as FakeStream[],
    statuses: [] as Status[],
    get status() {
      return this.statuses.at(-1)!;
    },
    get stream() {
      return this.streams.at(-1)!;
    },
  };
  const abort = new AbortController();
  const connection = new Connection({
    session: async () => ({ state: world.state, reason: world.reason }) as Session,
    ticket: async () => ticket(`ticket-${++world.tickets}`),
    open: () => {
      const stream = new FakeStream();
      world.streams.push(stream);
      return stream;
    },
    status: (status) => world.statuses.push(status),
    random: () => 1,
    ...overrides,
  });
  const run = Promise.resolve().then(() => connection.run(abort.signal)); // the test may change the world first
  const settle = async () => {
    for (let i = 0; i < 20; i++) await Promise.resolve();
  };
  const tick = async (milliseconds: number) => {
    t.mock.timers.tick(milliseconds);
    await settle();
  };
  return { world, connection, run, abort, settle, tick };
}

const words = (status: Status) => ("words" in status ? status.words : "");

test("it connects, and comes back with a fresh ticket when the connection is lost", async (t) => {
  const { world, settle, tick, abort, run } = setUp(t);
  await settle();
  assert.deepEqual(world.statuses.map(({ state }) => state), ["connecting"]);
  world.stream.goLive();
  await settle();
  assert.deepEqual(world.statuses.map(({ state }) => state), ["connecting", "live"]);

  world.stream.end(lost);
  await settle();
  assert.deepEqual(world.status, { state: "reconnecting", words: lost.words, code: "lost", retryAt: Date.now() + 250 });
  await tick(249);
  assert.equal(world.streams.length, 1);
  await tick(1);
  assert.deepEqual([world.streams.length, world.tickets], [2, 2]);
  world.stream.goLive();
  await settle();
  assert.equal(world.status.state, "live");

  abort.abort();
  await run;
  assert.ok(world.stream.closed);
});

test("waits grow while it fails, and start over after a good connection", async (t) => {
  const { world, settle, tick, abort, run } = setUp(t);
  const failures: number[] = [];
  await settle();
  for (let i = 0; i < 4; i++) {
    world.stream.end(lost);
    await settle();
    const { retryAt } = world.status as { retryAt: number };
    failures.push(retryAt - Date.now());
    await tick(retryAt - Date.now());
  }
  assert.deepEqual(failures, [250, 500, 1000, 2000]);
  world.stream.goLive();
  await settle();
  await tick(5000);
  world.stream.end(lost);
  await settle();
  assert.equal((world.status as { retryAt: number }).retryAt - Date.now(), 250);
  abort.abort();
  await run;
});

test("a desktop that starts is waited for, with its reason", async (t) => {
  const { world, settle, tick, abort, run } = setUp(t);
  world.state = "pending";
  await settle();
  world.state = "starting";
  world.reason = "waiting for an agent";
  await tick(250);
  assert.deepEqual(world.status, { state: "connecting", words: "Waiting for an agent." });
  assert.equal(world.tickets, 0);
  world.state = "running";
  await tick(250);
  assert.equal(world.streams.length, 1);
  abort.abort();
  await run;
});

test("what can't be mended ends it, with the words", async (t) => {
  for (const [what, failure, code] of [
    ["a stream's reason", { code: "max_duration", words: "Time is up." }, "max_duration"],
    ["no such session", new Problem(404, "not_found", "there is no session x"), "no_such_session"],
    ["a malformed id", new Problem(400, "invalid", "id x is not a UUID"), "no_such_session"],
    ["an ended session", new Problem(409, "conflict", "the session is failed"), "session_ended"],
    ["no permission", new Problem(403, "forbidden", "that is not yours"), "forbidden"],
  ] as const) {
    await t.test(what, async (t) => {
      const { world, settle, run } = setUp(t, failure instanceof Problem ? { ticket: () => Promise.reject(failure) } : {});
      await settle();
      if (!(failure instanceof Problem)) world.stream.end(failure);
      await run;
      assert.equal(world.status.state, "ended");
      assert.equal((world.status as { ending: Ending }).ending.code, code);
      assert.match((world.status as { ending: Ending }).ending.words, /\.$/);
    });
  }
});

test("a session that has ended is not opened", async (t) => {
  for (const state of ["failed", "stopping", "terminated"] as const) {
    await t.test(state, async (t) => {
      const { world, run } = setUp(t, { session: async () => ({ state, reason: "" }) as Session });
      await run;
      assert.equal(world.status.state, "ended");
      assert.equal(world.tickets, 0);
    });
  }
});

test("a desktop that fails before it runs did not start", async (t) => {
  const { world, settle, tick, run } = setUp(t);
  world.state = "starting";
  await settle();
  world.state = "failed";
  world.reason = "there is no display";
  await tick(250);
  await run;
  assert.deepEqual(world.status, { state: "ended", ending: { code: "not_started", words: "There is no display." } });
});

test("a desktop that fails after it ran has failed", async (t) => {
  const { world, settle, tick, run } = setUp(t);
  world.state = "starting";
  await settle();
  world.state = "running";
  await tick(250);
  world.state = "failed";
  world.stream.end(lost);
  await settle();
  await tick(250);
  await run;
  assert.deepEqual(world.status, { state: "ended", ending: { code: "session_failed", words: "The reason is not known." } });
});

test("a server that is down is asked again, and told as it is", async (t) => {
  let down = true;
  const { world, settle, tick, abort, run } = setUp(t, {
    session: async () => {
      if (down) throw new NoAnswer();
      return { state: "running", reason: "" } as Session;
    },
  });
  await settle();
  assert.equal(words(world.status), "The server does not answer.");
  await tick(250);
  assert.equal(words(world.status), "The server does not answer.");
  down = false;
  await tick(500);
  assert.equal(world.streams.length, 1);
  abort.abort();
  await run;
});

test("a nudge ends the wait at once", async (t) => {
  const { world, connection, settle, abort, run } = setUp(t);
  world.state = "unreachable";
  await settle();
  assert.equal(words(world.status), "The desktop's host is offline.");
  world.state = "running";
  connection.nudge();
  await settle();
  assert.equal(world.streams.length, 1);
  abort.abort();
  await run;
});

test("what is heard of a desktop ends a wait only when its state is another one", async (t) => {
  const { world, connection, settle, tick, abort, run } = setUp(t);
  await settle();
  for (const wait of [250, 500, 1000]) {
    const tickets = world.tickets;
    world.stream.end({ code: "vnc_refused", words: "It refuses." });
    await settle();
    // This viewer went, another one came and went.
    for (let i = 0; i < 3; i++) connection.heard("running");
    await tick(wait - 1);
    assert.equal(world.tickets, tickets, `after ${wait - 1} ms`);
    await tick(1);
    assert.equal(world.tickets, tickets + 1, `after ${wait} ms`);
  }
  world.stream.end(lost);
  await settle();
  world.state = "failed";
  connection.heard("failed");
  await run;
  assert.equal(world.status.state, "ended");
  abort.abort();
});

test("an agent that is back ends the wait for it, and no other wait", async (t) => {
  let away = true;
  const { world, connection, settle, tick, abort, run } = setUp(t, {
    ticket: async () => ({ ...ticket("t"), not_now: away ? { code: "agent_offline", detail: "it is away", retry_after: 5 } : null }),
  });
  await settle();
  assert.equal(words(world.status), "It is away.");
  connection.heard("running"); // as it is after a restart of the edge
  await settle();
  assert.equal(world.streams.length, 0);
  away = false;
  connection.agentBack();
  await settle();
  assert.equal(world.streams.length, 1);

  world.stream.end({ code: "vnc_refused", words: "It refuses." });
  await settle();
  for (let i = 0; i < 20; i++) {
    connection.agentBack();
    await settle();
  }
  assert.equal(world.streams.length, 1);
  await tick(500);
  assert.equal(world.streams.length, 2);
  abort.abort();
  await run;
});

test("events that contradict what is read do not make it try in bursts", async (t) => {
  let reads = 0;
  const { connection, settle, abort, run } = setUp(t, { session: async () => (reads++, { state: "unreachable", reason: "" }) as Session });
  await settle();
  for (let i = 0; i < 20; i++) {
    connection.heard("running");
    await settle();
  }
  assert.equal(reads, 2); // at first, and when the first event was news
  abort.abort();
  await run;
});

test("an ending that this page does not know is met with longer and longer waits", async (t) => {
  const { world, settle, tick, abort, run } = setUp(t);
  await settle();
  for (const wait of [250, 500, 1000]) {
    world.stream.end({ code: "of_a_newer_edge", words: "Something new." });
    await settle();
    assert.deepEqual(world.status, { state: "reconnecting", words: "Something new.", code: "of_a_newer_edge", retryAt: Date.now() + wait });
    await tick(wait);
  }
  abort.abort();
  await run;
});

test("a password that the edge gave is not tried again, one that a person gave is asked for at once", async (t) => {
  const { world, settle, abort, run } = setUp(t);
  await settle();
  world.stream.end({ code: wrongPassword, words: "It did not accept that." });
  await settle();
  assert.deepEqual(world.status, { state: "reconnecting", words: "It did not accept that.", code: wrongPassword, retryAt: undefined });
  assert.equal(world.streams.length, 2);
  world.stream.end({ code: "vnc_password", words: "The VNC server refused the password." });
  await run;
  assert.equal(world.status.state, "ended");
  assert.equal(world.streams.length, 2);
  abort.abort();
});

test("where there is no room it waits as long as it is told, then longer each time, and opens nothing", async (t) => {
  for (const [what, refusal] of [
    ["a limit on viewers", { code: "session_limit_reached", detail: "There are 3 viewers.", retry_after: 5 }],
    ["a limit on requests", new Problem(429, "session_limit_reached", "There are 3 viewers.", 5000)],
  ] as const) {
    await t.test(what, async (t) => {
      let full = true;
      const { world, settle, tick, abort, run } = setUp(t, {
        ticket: async () => {
          if (full && refusal instanceof Problem) throw refusal;
          return { ...ticket("t"), not_now: full ? (refusal as Ticket["not_now"]) : null };
        },
      });
      await settle();
      for (const wait of [5250, 5500, 6000]) {
        const status = { state: "reconnecting", words: "There are 3 viewers.", code: "session_limit_reached" };
        assert.deepEqual(world.status, { ...status, retryAt: Date.now() + wait });
        await tick(wait);
      }
      assert.equal(world.streams.length, 0);
      full = false;
      await tick(7000);
      assert.equal(world.streams.length, 1);
      abort.abort();
      await run;
    });
  }
});

test("a desktop that ended by itself says why without the word for programs", async (t) => {
  const { world, run } = setUp(t, { session: async () => ({ state: "terminated", reason: "idle: nobody used it for 5m" }) as Session });
  await run;
  assert.deepEqual(world.status, { state: "ended", ending: { code: "session_ended", words: "Nobody used it for 5m." } });
});

const draining: Ending = { code: "node_draining", words: "This server is restarting." };

test("a draining edge is left for another at once", async (t) => {
  const { world, settle, tick, abort, run } = setUp(t);
  await settle();
  for (let i = 2; i <= 5; i++) {
    world.stream.goLive();
    await settle();
    world.stream.end(draining);
    await settle();
    await tick(100);
    assert.equal(world.streams.length, i);
  }
  abort.abort();
  await run;
});

test("where there is no other edge yet, the one that drains is asked less and less often", async (t) => {
  const { world, settle, tick, abort, run } = setUp(t);
  const waits: number[] = [];
  await settle();
  world.stream.goLive();
  await settle();
  for (let i = 0; i < 4; i++) {
    world.stream.end(draining);
    await settle();
    const { retryAt } = world.status as { retryAt: number };
    waits.push(retryAt - Date.now());
    await tick(retryAt - Date.now());
  }
  assert.deepEqual(waits, [100, 250, 500, 1000]);
  abort.abort();
  await run;
});

test("who is logged out is told to whoever runs it", async (t) => {
  const { run } = setUp(t, { session: () => Promise.reject(new Problem(401, "unauthorized", "log in")) });
  await assert.rejects(run, { status: 401 });
});

test("it stops wherever it is when nobody looks any more", async (t) => {
  for (const state of ["pending", "running", "unreachable"] as const) {
    await t.test(state, async (t) => {
      const { settle, abort, run } = setUp(t, { session: async () => ({ state, reason: "" }) as Session });
      await settle();
      abort.abort();
      await run;
    });
  }
});
