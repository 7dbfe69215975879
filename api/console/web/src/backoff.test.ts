import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "./backoff.ts";

test("waits double from a quarter of a second to ten seconds", () => {
  const backoff = new Backoff(() => 1);
  const waits = Array.from({ length: 8 }, () => backoff.next());
  assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
  backoff.reset();
  assert.equal(backoff.next(), 250);
});

test("waits are spread over their upper half", () => {
  for (const [random, wait] of [[0, 125], [0.5, 187.5], [1, 250]] as const) {
    assert.equal(new Backoff(() => random).next(), wait);
  }
});
