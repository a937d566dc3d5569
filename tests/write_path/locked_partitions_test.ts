/**
 * A session has locked a partition's tables on a real server. The other
 * partitions work on, and the calls on this one wait, each until its deadline.
 * `LockedPartitions` itself is tried over scripted answers.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { PoolOverloadError } from "../../src/database/pool_errors.ts";
import { LockedTableError } from "../../src/database/read_gate.ts";
import type { Session } from "../../src/database/session.ts";
import {
  type LockedPartition,
  LockedPartitions,
} from "../../src/postgres/locked_partitions.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { partitionSuffix, type StreamId } from "../../src/storage/stream_id.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { testSession } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";
import { until } from "../support/until.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const genesis = {
  number: 0n,
  data: bytes("genesis"),
  snapshot: bytes("snapshot 0"),
};

const partitions = 4;
const suffixes = ["r00", "r01", "r02", "r03"];
const [locked = "", ...free] = suffixes;

/** Calls outlast the test; a wait for a lock on the server ends after 2 s. */
const patient = {
  partitions,
  operationTimeoutMs: 120_000,
  statementTimeoutMs: 20_000,
} as const;

function idAt(suffix: string): StreamId {
  for (;;) {
    const id = newStreamId();
    if (partitionSuffix(id, partitions) === suffix) return id;
  }
}

async function createAt(
  { storage }: TestStreamStorage,
  suffix: string,
  count: number,
): Promise<StreamId[]> {
  const ids = Array.from({ length: count }, () => idAt(suffix));
  await Promise.all(ids.map((id) => storage.createStreamStorage(id, genesis)));
  return ids;
}

/** How many sessions wait for a lock on a table of the schema. */
async function waiting(watcher: Session, schema: string): Promise<number> {
  const [row] = await watcher.script(
    `SELECT count(*) FROM pg_locks JOIN pg_class ON pg_class.oid = relation
     WHERE NOT granted AND mode <> 'AccessExclusiveLock'
       AND relnamespace = '${schema}'::regnamespace`,
  );
  return Number(row![0]);
}

/** Starts more calls of each kind than there are slots and connections. */
function callsOn({ storage }: TestStreamStorage, ids: readonly StreamId[]) {
  const [deleted, trimmed, ...others] = ids;
  const writes: Promise<unknown>[] = [
    storage.deleteStream(deleted!),
    storage.trimStream(trimmed!, 0n, []),
  ];
  for (const id of others) {
    for (const slot of [0, 1]) {
      writes.push(storage.writeEvent(id, 1n, slot, bytes("x")));
    }
    writes.push(storage.createStreamStorage(idAt(locked), genesis));
  }
  const reads = Array.from(
    { length: 12 },
    () => storage.readStreamFromLastSnapshot(others[0]!, 0),
  );
  return { writes, reads };
}

/** Reads and writes of every kind on streams of the other partitions. */
async function useOthers(
  test: TestStreamStorage,
  ids: readonly StreamId[],
  round: number,
): Promise<void> {
  const { storage } = test;
  await Promise.all(ids.flatMap((id) => [
    storage.writeEvent(id, 1n, round, bytes("y")),
    storage.readStreamFromLastSnapshot(id, 0),
  ]));
  const id = idAt(free[round % free.length]!);
  await storage.createStreamStorage(id, genesis);
  await storage.deleteStream(id);
}

function isLockTimeout(error: unknown): boolean {
  return isStreamStorageError(error, "DEADLINE_EXCEEDED") &&
    error.details.reason === "lock_timeout" &&
    error.outcome === "rolled_back" && error.retryable;
}

const tablesOf = (schema: string) =>
  ["miniblocks", "minipools"].map((kind) => `${schema}.${kind}_${locked}`)
    .join(", ");

describe("A partition whose tables another session has locked", () => {
  it("does not hold up other partitions, and serves its calls when it is free", async () => {
    await using test = await openTestStorage(patient);
    const { schema, url } = test;
    const held = await createAt(test, locked, 6);
    const others = (await Promise.all(
      free.map((suffix) => createAt(test, suffix, 2)),
    )).flat();
    await using holder = await testSession({ url });
    await using watcher = await testSession({ url });
    await holder.script(
      `BEGIN; LOCK TABLE ${tablesOf(schema)} IN ACCESS EXCLUSIVE MODE`,
    );
    const { writes, reads } = callsOn(test, held);
    let isHeld = true;
    for (const each of [...writes, ...reads]) {
      void each.catch(() => {}).then(() => isHeld = false);
    }
    // The first calls meet the lock and give up; from then on, no call asks.
    while (await waiting(watcher, schema) === 0);
    while (await waiting(watcher, schema) > 0);
    for (let round = 0; round < 20; round++) {
      const used = useOthers(test, others, round);
      assert.ok(await waiting(watcher, schema) <= 1);
      await used;
    }
    assert.ok(isHeld);
    await holder.script("COMMIT");
    await Promise.all([...writes, ...reads]);
    for (const id of held.slice(2)) {
      const { minipoolEnvelopes } = await test.storage
        .readStreamFromLastSnapshot(id, 0);
      assert.equal(minipoolEnvelopes.length, 2);
    }
  });

  it("can be read if the lock permits reads", async () => {
    await using test = await openTestStorage(patient);
    const { storage, schema, url } = test;
    const [id = idAt(locked)] = await createAt(test, locked, 1);
    await using holder = await testSession({ url });
    await holder.script(`BEGIN; LOCK TABLE ${tablesOf(schema)} IN SHARE MODE`);
    let isHeld = true;
    const write = storage.writeEvent(id, 1n, 0, bytes("x"))
      .then(() => isHeld = false);
    await using watcher = await testSession({ url });
    while (await waiting(watcher, schema) === 0);
    while (await waiting(watcher, schema) > 0);
    await storage.readStreamFromLastSnapshot(id, 0);
    assert.ok(isHeld);
    await holder.script("COMMIT");
    await write;
  });

  it("is the reason of its calls' errors at their deadline, unless they are aborted", async () => {
    await using test = await openTestStorage({
      partitions,
      operationTimeoutMs: 1500,
    });
    const { storage, schema, url } = test;
    const held = await createAt(test, locked, 6);
    await using reader = await testSession({ url });
    await using holder = await testSession({
      url,
      answerTimeoutMs: 120_000,
    });
    // The lock is not even granted, but the session that waits for it comes
    // before our calls.
    await reader.script(`BEGIN; SELECT FROM ${schema}.minipools_${locked}`);
    const lock = holder.script(
      `BEGIN; LOCK TABLE ${tablesOf(schema)} IN ACCESS EXCLUSIVE MODE`,
    );
    await using watcher = await testSession({ url });
    const isAsked = `SELECT count(*) FROM pg_locks WHERE NOT granted
      AND relation = '${schema}.minipools_${locked}'::regclass`;
    while ((await watcher.script(isAsked))[0]![0] === "0");
    const { writes, reads } = callsOn(test, held);
    const controller = new AbortController();
    const { signal } = controller;
    const given = [
      storage.readStreamFromLastSnapshot(held[2]!, 0, { signal }),
      storage.writeEvent(held[5]!, 1n, 2, bytes("x"), { signal }),
    ];
    const all = Promise.all(
      [...writes, ...reads].map((each) => assert.rejects(each, isLockTimeout)),
    );
    controller.abort();
    for (const call of given) {
      await assert.rejects(
        call,
        (error) => isStreamStorageError(error, "CANCELED"),
      );
    }
    await all;
    await reader.script("COMMIT");
    await lock;
    await holder.script("COMMIT");
    await storage.writeEvent(held[3]!, 1n, 0, bytes("x"));
  });
});

describe("LockedPartitions", () => {
  const id = "0" as StreamId;
  const later = () => performance.now() + 60_000;

  function lookingAt(answers: (readonly LockedPartition[] | Error)[]) {
    let asked = 0;
    const locks = new LockedPartitions({
      suffixOf: () => "r00",
      find: async () => {
        const answer = answers[Math.min(asked++, answers.length - 1)]!;
        await setImmediate();
        if (answer instanceof Error) throw answer;
        return answer;
      },
      maxWaiting: 1,
    });
    return { locks, asked: () => asked };
  }

  it("looks once for all callers, and again until the lock is gone", async () => {
    const { locks, asked } = lookingAt([[["r00", true]], [["r00", true]], []]);
    const seen: boolean[] = [];
    locks.onChange(() => seen.push(locks.since(id) !== undefined));
    await Promise.all([locks.look(), locks.look()]);
    await locks.look();
    assert.equal(asked(), 1);
    const since = locks.since(id);
    await until(() => asked() === 2);
    assert.equal(locks.since(id), since);
    await locks.readGate(60_000).wait(id, later(), undefined);
    assert.deepEqual(seen, [true, false]);
    assert.equal(asked(), 3);
  });

  it("takes nothing as locked if a look fails, or once it is closed", async () => {
    const { locks } = lookingAt([[["r00", true]], new Error("away")]);
    await locks.look();
    assert.notEqual(locks.since(id), undefined);
    await until(() => locks.since(id) === undefined);
    const { locks: closed } = lookingAt([[["r00", true]]]);
    await closed.look();
    const waiting = closed.readGate(60_000).wait(id, later(), undefined);
    closed.close();
    await waiting;
    assert.equal(closed.since(id), undefined);
  });

  it("lets few readers wait, each until its deadline or its signal", async () => {
    const { locks } = lookingAt([[["r00", true]]]);
    await locks.look();
    const gate = locks.readGate(0);
    const controller = new AbortController();
    const waiting = gate.wait(id, later(), controller.signal);
    await assert.rejects(gate.wait(id, 0, undefined), PoolOverloadError);
    controller.abort();
    await assert.rejects(waiting, { name: "AbortError" });
    await assert.rejects(gate.wait(id, 0, undefined), LockedTableError);
    locks.close();
  });
});
