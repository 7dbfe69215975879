import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { Poll } from "./poll.ts";

class Page extends EventTarget {
  visibilityState: DocumentVisibilityState = "visible";
  show(state: DocumentVisibilityState) {
    this.visibilityState = state;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

function start(t: TestContext) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const page = new Page();
  const abort = new AbortController();
  const jobs: (() => void)[] = [];
  const poll = new Poll(() => new Promise((done) => jobs.push(done)), abort.signal, page);
  const tick = async (milliseconds: number) => {
    t.mock.timers.tick(milliseconds);
    for (let i = 0; i < 5; i++) await Promise.resolve();
  };
  const finish = async () => {
    jobs.at(-1)!();
    for (let i = 0; i < 5; i++) await Promise.resolve();
    await tick(0);
  };
  return { poll, page, abort, jobs, tick, finish };
}

test("the job is done at its pace, counted from its end", async (t) => {
  const { poll, jobs, tick, finish } = start(t);
  await tick(60_000);
  assert.equal(jobs.length, 0, "without a pace");
  poll.pace = 5000;
  await tick(0);
  assert.equal(jobs.length, 1);
  await tick(20_000);
  assert.equal(jobs.length, 1, "while it runs");
  await finish();
  await tick(4999);
  assert.equal(jobs.length, 1);
  await tick(1);
  assert.equal(jobs.length, 2);
  await finish();
  poll.pace = 15_000;
  await tick(5000);
  assert.equal(jobs.length, 2);
  poll.pace = 5000; // it has waited that long already
  await tick(0);
  assert.equal(jobs.length, 3);
  await finish();
  poll.pace = undefined;
  poll.now();
  await tick(60_000);
  assert.equal(jobs.length, 3);
});

test("nothing is done while nobody can see it, and the job at once when somebody can", async (t) => {
  const { poll, page, jobs, tick, finish } = start(t);
  page.visibilityState = "hidden";
  poll.pace = 5000;
  await tick(60_000);
  assert.equal(jobs.length, 0);
  page.show("visible");
  await tick(0);
  await finish();
  page.show("hidden");
  await tick(60_000);
  assert.equal(jobs.length, 1);
  page.show("visible");
  await tick(0);
  assert.equal(jobs.length, 2);
});

test("what changes during the job is looked at after it, and nothing after the end", async (t) => {
  const { poll, abort, jobs, tick, finish } = start(t);
  poll.pace = 5000;
  await tick(0);
  poll.now();
  poll.now();
  assert.equal(jobs.length, 1);
  await finish();
  assert.equal(jobs.length, 2);
  abort.abort();
  await finish();
  await tick(60_000);
  assert.equal(jobs.length, 2);
});
