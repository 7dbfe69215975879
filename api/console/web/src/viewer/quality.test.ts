import assert from "node:assert/strict";
import { test } from "node:test";
import type { StreamQuality } from "../api/types.ts";
import { Readings } from "./quality.ts";

const since = "2026-01-02T03:04:05Z";
const start = Date.parse(since);

const stream = (more: Partial<StreamQuality> = {}): StreamQuality => ({
  ticket: "mine",
  since,
  rtt_ms: { p50: 24, p95: 41 },
  response_ms: { p50: 31, p95: 90 },
  gap_ms: { p50: 36, p95: 80 },
  stalls: 0,
  bytes_to_viewer: 12_400_000,
  bytes_from_viewer: 14_200,
  ...more,
});

function read(...streams: StreamQuality[]) {
  const readings = new Readings();
  streams.forEach((one, i) => readings.add(one, start + 15_000 * (i + 1)));
  return readings.quality;
}

test("the grade is that of the worst part, and its reason is told", () => {
  for (const [what, more, grade, summary] of [
    ["all is well", {}, "good", /follows your hand/],
    ["the limit itself", { rtt_ms: { p50: 80, p95: 80 } }, "good", /./],
    ["a far server", { rtt_ms: { p50: 81, p95: 90 } }, "fair", /81 ms there and back/],
    ["the limit of fair", { rtt_ms: { p50: 200, p95: 900 } }, "fair", /200 ms there and back/],
    ["a very far one", { rtt_ms: { p50: 1300, p95: 1400 } }, "poor", /network is slow: 1.3 s/],
    ["an uneven network", { rtt_ms: { p50: 40, p95: 200 } }, "fair", /uneven.*200 ms/],
    ["a near network is never uneven", { rtt_ms: { p50: 0.2, p95: 9 } }, "good", /./],
    ["nothing yet", { rtt_ms: null, response_ms: null, gap_ms: null }, undefined, /Measuring/],
  ] as const) {
    const quality = read(stream(more));
    assert.equal(quality.grade, grade, what);
    assert.match(quality.summary, summary, what);
  }
});

test("only the stalls of the last minute count, by how many there are a minute", () => {
  const stalls = (...counts: number[]) => read(...counts.map((stalls) => stream({ stalls }))).grade;
  assert.equal(stalls(5000), "good");
  assert.equal(stalls(0, 7), "good");
  assert.equal(stalls(0, 8), "fair");
  assert.equal(stalls(0, 100, 100, 100, 100, 100), "good");
});

test("the facts are told with the digits that say something", () => {
  const { brief, facts } = read(stream({ bytes_to_viewer: 11_800_000 }), stream({ stalls: 2 }));
  assert.equal(brief, "24 ms");
  assert.deepEqual(
    facts.map(({ label, value }) => [label, value]),
    [
      ["Round trip", "24 ms, seldom over 41 ms"],
      ["Response", "31 ms, seldom over 90 ms"],
      ["Updates", "about 28 a second"],
      ["Stalls", "2"],
      ["Received", "12.4 MB"],
      ["Sent", "14 KB"],
      ["Connected", "for 30 s"],
    ],
  );
  assert.equal(facts.find(({ label }) => label === "Received")?.note, "40 KB a second now");
});

test("input that changes nothing to be seen says nothing of the connection", () => {
  const { grade, facts } = read(stream({ response_ms: { p50: 4871, p95: 4871 } }));
  assert.equal(grade, "good");
  assert.equal(facts.find(({ label }) => label === "Response")?.value, "–");
});

test("another connection begins anew", () => {
  const quality = read(stream({ stalls: 0 }), stream({ ticket: "next", stalls: 5000, bytes_to_viewer: 10 }));
  assert.equal(quality.grade, "good");
  assert.equal(quality.facts.find(({ label }) => label === "Received")?.note, undefined);
});
