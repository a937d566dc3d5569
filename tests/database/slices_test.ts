/**
 * Large work, be it many calls or many rows, is done in slices, and the event
 * loop serves other work in between. The last test needs a real server.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { setImmediate as nextTurn } from "node:timers/promises";
import { after, before, describe, it } from "node:test";
import { Slices } from "../../src/database/slices.ts";
import { copyManyIn, statement } from "../../src/database/statement.ts";
import { FrontendWriter } from "../../src/database/wire/frontend.ts";
import { Intake } from "../../src/postgres/intake.ts";
import {
  assertFails,
  block,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { openTestStorage } from "../support/storage.ts";

/** How many turns the event loop makes until the promise is settled. */
async function turnsUntil(promise: Promise<unknown>): Promise<number> {
  let isSettled = false;
  const settled = promise.finally(() => isSettled = true);
  let turns = 0;
  for (; !isSettled; turns++) await nextTurn();
  await settled;
  return turns;
}

describe("Many calls at once", () => {
  it("begin in order, some in each turn", async () => {
    const intake = new Intake();
    const begun: number[] = [];
    const call = (n: number) =>
      intake.pass(() => {
        begun.push(n);
        return Promise.resolve(n);
      });
    const calls = Array.from({ length: 10_000 }, (_, n) => call(n));
    const atOnce = begun.length;
    assert.ok(atOnce > 0 && atOnce < 5000, `${atOnce} have begun at once`);
    await nextTurn();
    const later = begun.length - atOnce;
    assert.ok(later < 5000, `${later} have begun in a turn`);
    // A later call comes after those that wait.
    calls.push(call(10_000));
    const turns = await turnsUntil(Promise.all(calls));
    assert.ok(turns > 2, `They took ${turns} turns`);
    const all = Array.from({ length: 10_001 }, (_, n) => n);
    assert.deepEqual(begun, all);
    assert.deepEqual(await Promise.all(calls), all);
  });

  it("are not overtaken by a call that one of the last of them makes", async () => {
    const intake = new Intake();
    const begun: number[] = [];
    let last: Promise<number> | undefined;
    const call = (n: number): Promise<number> =>
      intake.pass(() => {
        begun.push(n);
        // The rest of the burst still waits when this call is made.
        if (n === 2990) last = call(3000);
        return Promise.resolve(n);
      });
    await Promise.all(Array.from({ length: 3000 }, (_, n) => call(n)));
    assert.equal(await last, 3000);
    assert.deepEqual(begun, Array.from({ length: 3001 }, (_, n) => n));
  });

  it("begin at once if they are few, however many there were before", async () => {
    const intake = new Intake();
    const body = () => Promise.resolve();
    await Promise.all(Array.from({ length: 5000 }, () => intake.pass(body)));
    for (let turn = 0; turn < 100; turn++) {
      let hasBegun = false;
      for (let n = 0; n < 300; n++) {
        hasBegun = false;
        const call = intake.pass(() => {
          hasBegun = true;
          return Promise.resolve();
        });
        assert.ok(hasBegun, `Call ${n} of turn ${turn} had to wait`);
        await call;
      }
      await nextTurn();
    }
  });

  it("fail each with its own error", async () => {
    const intake = new Intake();
    const calls = Array.from(
      { length: 3000 },
      (_, n) => intake.pass(() => Promise.reject(new Error(`${n}`))),
    );
    const settled = await Promise.allSettled(calls);
    assert.deepEqual(
      settled.map((result) =>
        result.status === "rejected" && result.reason.message
      ),
      calls.map((_, n) => `${n}`),
    );
  });
});

describe("A COPY of many rows", () => {
  const copy = statement({ text: "COPY" });
  const types = ["bpchar", "int8", "bytea", "bytea?"] as const;
  const rowOf = (
    n: number,
  ): [string, bigint, Uint8Array, Uint8Array | null] => [
    "0".repeat(64),
    BigInt(n),
    // The large ones reach the socket without a copy.
    new Uint8Array(n % 100 === 0 ? 10_000 : n % 50).fill(n),
    n % 3 === 0 ? null : new Uint8Array([n]),
  ];

  it("has the same bytes if it is encoded in slices", async () => {
    const rows = Array.from({ length: 5000 }, (_, n) => rowOf(n));
    const encoding = copyManyIn(copy, types, rows, new Slices(-1));
    const turns = await turnsUntil(encoding);
    assert.ok(turns > 10, `It took ${turns} turns`);
    const { encodedCopy } = await encoding;
    const [inSlices, atOnce] = [new FrontendWriter(), new FrontendWriter()];
    for (const writer of [inSlices, atOnce]) writer.query("before");
    inSlices.append(encodedCopy!);
    atOnce.copyRows(types, rows);
    for (const writer of [inSlices, atOnce]) writer.sync();
    const { bytes } = atOnce;
    assert.equal(inSlices.bytes, bytes);
    const sent = Buffer.concat(inSlices.take());
    assert.equal(sent.length, bytes);
    assert.ok(sent.equals(Buffer.concat(atOnce.take())));
  });

  it("is encoded with the flush if its rows are few", async () => {
    const bound = await copyManyIn(copy, types, [rowOf(1)]);
    assert.equal(bound.encodedCopy, undefined);
    assert.deepEqual(bound.copy?.rows, [rowOf(1)]);
  });
});

describe("A call of many blocks", () => {
  let test: TestStreamStorage;
  before(async () => {
    test = await openTestStorage();
  });
  after(() => test[Symbol.asyncDispose]());

  it("writes and reads them like a small one", async () => {
    const { storage } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, snapshotBlock(0));
    const given = Array.from(
      { length: 9000 },
      (_, n) => n % 7 === 0 ? snapshotBlock(n + 1) : block(n + 1),
    );
    const envelopes = given.map(({ data }) => data);
    await storage.writeMiniblocks(
      id,
      given,
      { generation: 9001n, envelopes },
      { generation: 1n },
    );
    const all = [snapshotBlock(0), ...given];
    const { miniblocks, terminus } = await storage.readMiniblocks(
      id,
      0n,
      9999n,
    );
    assert.ok(terminus);
    assert.deepEqual(miniblocks, all);
    const some = await storage.readMiniblocks(id, 10n, 9001n);
    assert.equal(some.terminus, false);
    assert.deepEqual(some.miniblocks, all.slice(10));
    const view = await storage.readStreamFromLastSnapshot(id, 9000);
    assert.deepEqual(view.miniblocks, all);
    assert.deepEqual(view.minipoolEnvelopes, envelopes);
    await storage.debugDeleteMiniblocks(id, 5000n, 5002n);
    await assertFails(storage.readMiniblocks(id, 0n, 9999n), {
      code: "MINIBLOCKS_NOT_FOUND",
      reason: "miniblock_gap",
      details: { expected: 5000n, actual: 5002n },
    });
  });
});
