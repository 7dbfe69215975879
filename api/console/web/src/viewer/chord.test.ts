import assert from "node:assert/strict";
import { test } from "node:test";
import { Chord } from "./chord.ts";

/** Plays "+Key" and "-Key" and returns after which of them the chord was complete. */
function play(...moves: string[]): number[] {
  const chord = new Chord();
  const held = new Set<string>();
  return moves.flatMap((move, index) => {
    const key = move.slice(1);
    if (move[0] === "+") held.add(key);
    else held.delete(key);
    const event = { key, ctrlKey: held.has("Control"), altKey: held.has("Alt") || held.has("Meta"), shiftKey: held.has("Shift") };
    if (move[0] === "+") chord.down(event);
    else if (chord.up(event)) return [index];
    return [];
  });
}

test("the three together, let go, in any order", () => {
  assert.deepEqual(play("+Control", "+Alt", "+Shift", "-Control", "-Alt", "-Shift"), [5]);
  assert.deepEqual(play("+Shift", "+Control", "+Meta", "-Meta", "-Shift", "-Control"), [5]);
  assert.deepEqual(play("+Control", "+Alt", "+Shift", "+Shift", "-Alt", "-Control", "-Shift"), [6], "keys repeat while held");
});

test("every other combination is the desktop's", () => {
  assert.deepEqual(play("+Control", "+Alt", "-Alt", "-Control"), []);
  assert.deepEqual(play("+Control", "+Alt", "+Shift", "+t", "-t", "-Shift", "-Alt", "-Control"), []);
  assert.deepEqual(play("+a", "-a", "+Control", "+c", "-c", "-Control"), []);
});

test("it works again and again", () => {
  const once = ["+Control", "+Alt", "+Shift", "-Control", "-Alt", "-Shift"];
  assert.deepEqual(play(...once, "+x", "-x", ...once), [5, 13]);
});
