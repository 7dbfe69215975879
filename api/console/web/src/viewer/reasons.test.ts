import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { endingOf, explain, finality, isCrowded, lost, refused, unreadable } from "./reasons.ts";

test("a close frame's reason is a word and what to tell", () => {
  for (const [code, reason, wasLive, ending] of [
    [4503, "agent_offline: The desktop's host is offline.", true, { code: "agent_offline", words: "The desktop's host is offline." }],
    [4410, "session_ended: it failed: no: memory", true, { code: "session_ended", words: "it failed: no: memory" }],
    [1011, "proxy timeout", true, { code: "other", words: "proxy timeout" }],
    [1006, "", true, lost],
    [1006, "", false, refused],
    [1005, "", true, unreadable],
  ] as const) {
    assert.deepEqual(endingOf({ code, reason }, wasLive), ending);
  }
});

test("what the proxy says not to retry is final, and nothing else of it", () => {
  const table = readFileSync("../../../proxy/reason.go", "utf8");
  const words = new Map([...table.matchAll(/^\t(\w+)\s+Reason = "(\w+)"$/gm)].map(([, name, word]) => [name!, word!]));
  const rows = [...table.matchAll(/^\t\{(\w+), \d+, (\d+), By\w+, (true|false), /gm)];
  assert.ok(rows.length > 25 && rows.length === words.size, `${rows.length} rows, ${words.size} words`);
  for (const [, name, close, retry] of rows) {
    const ending = { code: words.get(name!)!, words: "" };
    assert.equal(finality(ending) !== undefined, retry === "false", ending.code);
    assert.equal(isCrowded(ending), close === "1013", ending.code); // try again later (RFC 6455 section 7.4.1's registry)
  }
});

test("who can't be kept to looking is told what to do, and others what the edge says", () => {
  const hidden = { code: "unenforceable", words: "This VNC server's kind of security makes a limited viewer impossible." };
  assert.match(explain(hidden, "view"), /view-only connection can't be guaranteed.*Open it to control it/);
  assert.match(explain(hidden, "control"), /Pasting .* is off/);
  assert.equal(explain(lost, "view"), lost.words);
});

test("only some final endings are the desktop's own", () => {
  const over = (code: string) => finality({ code, words: "" })?.over;
  for (const code of ["session_ended", "session_failed", "not_started", "no_such_session", "idle", "max_duration"]) assert.equal(over(code), true, code);
  for (const code of ["not_vnc", "vnc_password", "security_failed", "declined"]) assert.equal(over(code), false, code);
  for (const { code } of [lost, refused, unreadable, { code: "of_a_newer_edge" }]) assert.equal(over(code), undefined, code);
});
