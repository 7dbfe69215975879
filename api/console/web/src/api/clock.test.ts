import assert from "node:assert/strict";
import { test } from "node:test";
import { EdgeClock } from "./clock.ts";

test("a clock that is wrong is put right, one that is about right is believed", (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: Date.parse("2026-01-02T03:04:05Z") });
  const clock = new EdgeClock();
  for (const [date, now] of [
    ["Fri, 02 Jan 2026 03:04:06 GMT", "2026-01-02T03:04:05.000Z"],
    ["Fri, 02 Jan 2026 03:09:05 GMT", "2026-01-02T03:09:05.500Z"],
    ["Fri, 02 Jan 2026 01:04:05 GMT", "2026-01-02T01:04:05.500Z"],
    [null, "2026-01-02T01:04:05.500Z"],
    ["yesterday", "2026-01-02T01:04:05.500Z"],
    ["Fri, 02 Jan 2026 03:04:04 GMT", "2026-01-02T03:04:05.000Z"],
  ] as const) {
    clock.told(date, Date.now());
    assert.equal(new Date(clock.now()).toISOString(), now, String(date));
  }
});
