import assert from "node:assert/strict";
import { mock, test, type TestContext } from "node:test";
import { Watchdog } from "./watchdog.ts";

function start(t: TestContext) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const probe = mock.fn();
  const dead = mock.fn();
  const watchdog = new Watchdog(probe, dead);
  const seconds = (n: number) => {
    for (let i = 0; i < n; i++) t.mock.timers.tick(1000);
  };
  return { watchdog, seconds, probes: () => probe.mock.callCount(), deaths: () => dead.mock.callCount() };
}

test("a connection that speaks is left alone", (t) => {
  const { watchdog, seconds, probes } = start(t);
  for (let i = 0; i < 20; i++) {
    seconds(4);
    watchdog.heard();
  }
  assert.equal(probes(), 0);
  watchdog.stop();
});

test("a quiet one is probed, and lives when it answers", (t) => {
  const { watchdog, seconds, probes, deaths } = start(t);
  for (let i = 1; i <= 5; i++) {
    seconds(5);
    assert.equal(probes(), i);
    seconds(7);
    watchdog.heard();
  }
  assert.equal(deaths(), 0);
  watchdog.stop();
});

test("one that does not answer is dead, once", (t) => {
  const { seconds, probes, deaths } = start(t);
  seconds(12);
  assert.deepEqual([probes(), deaths()], [1, 0]);
  seconds(1);
  assert.equal(deaths(), 1);
  seconds(60);
  assert.deepEqual([probes(), deaths()], [1, 1]);
});

test("in doubt it has to answer sooner", (t) => {
  const { watchdog, seconds, probes, deaths } = start(t);
  watchdog.doubt();
  assert.equal(probes(), 1);
  seconds(2);
  watchdog.heard();
  seconds(2);
  assert.equal(deaths(), 0);
  watchdog.doubt();
  seconds(3);
  assert.equal(deaths(), 1);
});

test("after stop nothing happens", (t) => {
  const { watchdog, seconds, probes, deaths } = start(t);
  watchdog.stop();
  seconds(60);
  assert.deepEqual([probes(), deaths()], [0, 0]);
});
