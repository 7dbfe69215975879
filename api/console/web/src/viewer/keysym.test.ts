import assert from "node:assert/strict";
import { test } from "node:test";
import { keysBetween, keysymOf } from "./keysym.ts";

test("a character has the keysym of X11", () => {
  for (const [character, keysym] of [
    ["a", 0x61],
    [" ", 0x20],
    ["~", 0x7e],
    ["ü", 0xfc],
    ["€", 0x010020ac],
    ["😀", 0x0101f600],
    ["\n", 0xff0d],
    ["\u007f", undefined],
    ["\u0000", undefined],
  ] as const) {
    assert.equal(keysymOf(character), keysym, character);
  }
});

test("what an on-screen keyboard makes of a text is typed", () => {
  const back = 0xff08;
  for (const [before, after, keys] of [
    ["", "", []],
    ["__", "__l", [0x6c]],
    ["__l", "__ls\n", [0x73, 0xff0d]],
    ["__", "_", [back]],
    ["__teh", "__the ", [back, back, 0x68, 0x65, 0x20]], // corrected
    ["__😀", "__", [back]],
    ["__", "", [back, back]],
  ] as const) {
    assert.deepEqual(keysBetween(before, after), keys, `${before} to ${after}`);
  }
});
