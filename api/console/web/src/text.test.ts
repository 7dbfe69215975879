import assert from "node:assert/strict";
import { test } from "node:test";
import { age, desktopName, sentence } from "./text.ts";

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
