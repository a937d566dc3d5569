/**
 * Text from outside, such as ids, names and a server's errors, can't forge log
 * lines, control a terminal or flood a message.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { toStorageError } from "../../src/database/failures.ts";
import { assertSchemaName } from "../../src/database/migrations/sql_text.ts";
import { PgError } from "../../src/database/pg_error.ts";
import { ReplyFault } from "../../src/media/reply_fault.ts";
import { checkStreamId } from "../../src/storage/arguments.ts";
import {
  messageOf,
  printable,
  quoted,
} from "../../src/storage/foreign_text.ts";

/** A forged line, terminal commands, right-to-left marks, half a pair. */
const hostile =
  '\n2026 LOG: "all is well"\r\x1b[2J\x07\0\x85\u2028\u202e\u200b\ufeff\ud800\x7f';
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

describe("Foreign text", () => {
  it("is escaped and shortened", () => {
    assert.equal(quoted("towns"), '"towns"');
    assert.equal(quoted('a "b" \\ c'), '"a \\"b\\" \\\\ c"');
    assert.equal(quoted("Zürich 東京 🦦"), '"Zürich 東京 🦦"');
    assert.equal(quoted("\n\x1b"), '"\\u{a}\\u{1b}"');
    assert.equal(quoted("abcdef", 4), '"abcd…" of 6 characters');
    assert.equal(quoted("abc🦦", 4), '"abc…" of 5 characters');
    assert.equal(printable("a\tb", 8), "a\\u{9}b");
    assert.equal(printable("abcdef", 4), "abcd…");
    assert.doesNotMatch(quoted(hostile), unprintable);
    assert.equal(
      printable(printable(hostile, 99), 999),
      printable(hostile, 99),
    );
    assert.ok(messageOf(new Error("x".repeat(2 ** 20))).length < 1000);
  });

  const echoes: [what: string, echo: (text: string) => unknown][] = [
    ["a stream id", (text) => thrownBy(() => checkStreamId(text))],
    ["a schema's name", (text) => thrownBy(() => assertSchemaName(text))],
    [
      "a server's error as a storage error",
      (text) => toStorageError(serverError(text)),
    ],
    ["a server's error", serverError],
    ["an error of the system", (text) => toStorageError(new Error(text))],
    [
      "an object's name",
      (object) =>
        new ReplyFault({ reason: "timeout", retryable: true })
          .toStorageError({ provider: "s3", action: "read", object }),
    ],
  ];
  for (const [what, echo] of echoes) {
    it(`can't forge or flood a message if it is ${what}`, () => {
      for (const text of [hostile, hostile + "x".repeat(2 ** 20)]) {
        const { message } = echo(text) as Error;
        assert.doesNotMatch(message, unprintable);
        assert.ok(message.length < 1000, `${message.length} characters`);
      }
    });
  }

  it("is mostly left out of the error if it was passed as a stream id", () => {
    const { message } = thrownBy(() => checkStreamId("p".repeat(200))) as Error;
    assert.match(message, /received "p{16}…" of 200 characters$/);
  });

  it("counts as a SQLSTATE only if it has the form of one", () => {
    assert.equal(serverError("x", "23505").sqlState, "23505");
    for (const bad of ["", "2350", "235055", "23\n05", "abcde"]) {
      assert.equal(serverError("x", bad).sqlState, "XX000");
    }
  });
});

/** An error with this text in every field that a server may fill. */
function serverError(text: string, sqlState = "23514"): PgError {
  const fields = ["S", "V", "M", "D", "H", "W", "t", "n", "R"];
  const error = new PgError(
    new Map([...fields.map((field) => [field, text] as const), [
      "C",
      sqlState,
    ]]),
    0,
  );
  for (
    const kept of [error.severity, error.table, error.constraint, error.routine]
  ) {
    assert.doesNotMatch(kept!, unprintable);
    assert.ok(kept!.length < 700); // Each character may become eight.
  }
  return error;
}

function thrownBy(body: () => void): unknown {
  try {
    body();
  } catch (error) {
    return error;
  }
  throw new Error("Nothing was thrown");
}
