import assert from "node:assert/strict";
import { test } from "node:test";
import { age, bytes, countdown, desktopName, duration, reasonWords, sentence } from "./text.ts";

test("an age is told in the largest unit that fits", () => {
  const now = Date.parse("2026-01-02T00:00:00Z");
  for (const [seconds, words] of [
    [-5, "now"], // this computer's clock is behind
    [0, "now"],
    [9, "now"],
    [10, "10 s"],
    [59, "59 s"],
    [60, "1 min"],
    [3599, "59 min"],
    [3600, "1 h"],
    [86_399, "23 h"],
    [86_400, "1 d"],
    [900_000, "10 d"],
  ] as const) {
    assert.equal(age(new Date(now - seconds * 1000).toISOString(), now), words);
  }
  assert.equal(age(null, now), "–");
});

test("what is left is told in minutes and seconds that have begun", () => {
  for (const [milliseconds, words] of [[-1, "0:00"], [0, "0:00"], [1, "0:01"], [47_001, "0:48"], [60_000, "1:00"], [725_000, "12:05"]] as const) {
    assert.equal(countdown(milliseconds), words);
  }
});

test("times and sizes have the digits that say something", () => {
  for (const [milliseconds, words] of [[0, "under 1 ms"], [0.99, "under 1 ms"], [1.4, "1 ms"], [999.4, "999 ms"], [999.5, "1.0 s"], [1340, "1.3 s"]] as const) {
    assert.equal(duration(milliseconds), words);
  }
  for (const [count, words] of [[0, "0 B"], [999, "999 B"], [1000, "1 KB"], [14_499, "14 KB"], [999_600, "1.0 MB"], [12_440_000, "12.4 MB"], [320e9, "320 GB"], [5e15, "5000 TB"]] as const) {
    assert.equal(bytes(count), words);
  }
});

test("a reason's word for programs is left out", () => {
  assert.equal(reasonWords("idle: nobody used it for 5m"), "Nobody used it for 5m.");
  assert.equal(reasonWords("max_duration: it reached its longest allowed time, 40s"), "It reached its longest allowed time, 40s.");
  assert.equal(reasonWords("vnc_refused: it does not answer"), "It does not answer.");
  assert.equal(reasonWords("exit status 1: no display"), "Exit status 1: no display.");
});

test("a reason becomes a sentence", () => {
  for (const [reason, words] of [
    ["", ""],
    ["  ", ""],
    ["the desktop ended by itself", "The desktop ended by itself."],
    ["Already one.", "Already one."],
    ["Starting…", "Starting…"],
    ["ünicode", "Ünicode."],
  ] as const) {
    assert.equal(sentence(reason), words);
  }
});

test("a desktop without a name is told apart by the end of its id", () => {
  assert.equal(desktopName({ id: "0192f0c1-7a3b-7c00-8000-00000000beef", name: "" }), "Desktop beef");
  assert.equal(desktopName({ id: "0192f0c1-7a3b-7c00-8000-00000000beef", name: "Reports" }), "Reports");
});
