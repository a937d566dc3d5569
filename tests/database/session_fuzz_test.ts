/**
 * A session without a socket gets random damaged conversations as the server's
 * answers: each call ends with its result or a typed error.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ConnectionLostError, PgError } from "../../src/database/pg_error.ts";
import { Session } from "../../src/database/session.ts";
import { bind, statement } from "../../src/database/statement.ts";
import { damage, damaged } from "../support/damage.ts";
import { errorResponse, int32, message } from "../support/login/server.ts";

const select = statement({
  text: "SELECT $1::int4, $2::bytea",
  params: ["int4", "bytea"],
  columns: ["int4", "bytea?"],
});
const noRows = statement({ text: "UPDATE t SET a = 1" });

/** A session that gets its bytes from the test. */
function scriptedSession(): { session: Session; feed(bytes: Buffer): void } {
  let take: (chunk: Buffer) => void = () => {};
  const socket = {
    write: () => true,
    cork() {},
    uncork() {},
    destroy() {},
    writableLength: 0,
  };
  const session = new Session({
    socket: socket as unknown as Socket,
    receive: (callback) => void (take = callback),
    end: () => Promise.resolve(),
    cancel: () => Promise.resolve(false),
    processId: 1,
    secretKey: new Uint8Array(4),
    attrs: "read-write",
  }, {
    preparedStatements: true,
    answerTimeoutMs: 60_000,
  });
  return { session, feed: (bytes) => take(bytes) };
}

function row(...columns: (Buffer | null)[]): Buffer {
  const count = Buffer.alloc(2);
  count.writeInt16BE(columns.length);
  return message(
    "D",
    Buffer.concat([
      count,
      ...columns.map((bytes) =>
        bytes === null ? int32(-1) : Buffer.concat([int32(bytes.length), bytes])
      ),
    ]),
  );
}

const ready = message("Z", "I");
const complete = (tag: string) => message("C", `${tag}\0`);

/** Answers, good and bad, to the questions of `ask`. */
const answers: Record<string, Buffer[]> = {
  rows: [
    message("1", ""),
    ready,
    message("2", ""),
    row(int32(7), Buffer.alloc(4200, 1)),
    row(int32(8), null),
    complete("SELECT 2"),
    message("2", ""),
    complete("UPDATE 3"),
    ready,
  ],
  refused: [message("1", ""), ready, errorResponse("40001"), ready],
  aside: [
    errorResponse("01000", "mind", "N"),
    message("S", "default_transaction_read_only\0off\0"),
    message("A", Buffer.concat([int32(3), Buffer.from("channel\0payload\0")])),
  ],
  text: [
    message("T", Buffer.from([0, 0])),
    row(Buffer.from("1"), null),
    complete("SELECT 1"),
    ready,
  ],
};

function ask(session: Session): Promise<unknown>[] {
  const bound = [bind(select, 1, new Uint8Array(3)), bind(noRows)] as const;
  const both = () =>
    session.run(bound).then((results) => assert.equal(results.length, 2));
  return [both(), both(), session.script("SELECT 1")];
}

describe("A session without a socket", () => {
  it("passes answers on to its callers", async () => {
    const { session, feed } = scriptedSession();
    const asked = ask(session);
    feed(
      Buffer.concat([
        ...answers["rows"]!,
        ...answers["rows"]!.slice(2),
        ...answers["text"]!,
      ]),
    );
    await Promise.all(asked);
  });

  it("answers or fails with a typed error, in 2500 damaged conversations", async () => {
    const conversation = fc.record({
      order: fc.array(
        fc.constantFrom(...Object.keys(answers)),
        { minLength: 1, maxLength: 5 },
      ),
      damages: fc.array(damage, { maxLength: 4 }),
      chunks: fc.array(fc.integer({ min: 19, max: 3000 }), { maxLength: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(conversation, async ({ order, damages, chunks }) => {
        const { session, feed } = scriptedSession();
        session.onNotification(({ channel }) =>
          assert.equal(typeof channel, "string")
        );
        const asked = Promise.allSettled(ask(session));
        const bytes = damages.reduce(
          damaged,
          Buffer.concat(order.flatMap((n) => answers[n]!)),
        );
        let at = 0;
        for (let i = 0; at < bytes.length && session.usable; i++) {
          const size = chunks[i % chunks.length] ?? bytes.length;
          feed(bytes.subarray(at, at + size));
          at += size;
        }
        session.destroy("The conversation is over");
        for (const one of await asked) {
          if (one.status === "fulfilled") continue;
          const { reason } = one;
          const isTyped = reason instanceof PgError ||
            reason instanceof ConnectionLostError;
          assert.ok(isTyped, reason instanceof Error ? reason.stack : reason);
        }
        await session.closed;
      }),
      { numRuns: 2500 },
    );
  });

  it("refuses a row with a negative number of columns", async () => {
    const { session, feed } = scriptedSession();
    const asked = session.script("SELECT 1");
    feed(
      message(
        "D",
        Buffer.concat([Buffer.from([255, 255]), Buffer.alloc(9000, 255)]),
      ).subarray(0, 5000),
    );
    assert.equal(session.usable, false);
    await assert.rejects(asked, ConnectionLostError);
  });
});
