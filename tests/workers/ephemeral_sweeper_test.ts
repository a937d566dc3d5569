/**
 * The sweeper on a real server removes uploads that were never sealed, and only
 * those; a stuck or refused stream stops neither callers nor other streams.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { quoteIdentifier } from "../../src/database/migrations/sql_text.ts";
import type { SweepOptions } from "../../src/postgres/maintenance.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { LogEvent } from "../../src/telemetry/log_events.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  block,
  mediaGenesis,
  newStreamId,
  plantedStream,
  run,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { assertInvariants } from "../support/invariants.ts";
import { openSession } from "../support/migration_connection.ts";
import { plant } from "../support/plant.ts";
import { openTestStorage } from "../support/storage.ts";
import { until, untilSeen } from "../support/until.ts";

const ttlMs = 600_000;

/** Runs SQL in which @ stands for the schema. */
async function sql(
  { url, schema }: TestStreamStorage,
  text: string,
): Promise<(string | null)[][]> {
  await using session = await openSession(url);
  return await session.script(
    text.replaceAll("@", quoteIdentifier(schema)),
  );
}

/** Moves the stream's creation into the past. */
async function age(
  test: TestStreamStorage,
  streamId: StreamId,
  milliseconds: number,
): Promise<void> {
  await sql(
    test,
    `UPDATE @.stream_storage_ephemeral SET created_at =
      created_at - ${milliseconds} * interval '1 millisecond'
      WHERE stream_id = '${streamId}'`,
  );
}

/** Resolves when a session of this name asks for a stream's lock, or has it. */
async function lockWasWanted(
  { url }: TestStreamStorage,
  applicationName: string,
): Promise<void> {
  await using session = await openSession(url);
  await untilSeen(async () => {
    const [row] = await session.script(
      `SELECT count(*) FROM pg_stat_activity
        WHERE application_name = '${applicationName}'
          AND query LIKE '%FOR UPDATE%'`,
    );
    return row![0] !== "0";
  });
}

/** Resolves when a session waits for the advisory lock. */
async function advisoryLockIsWaitedFor(
  { url }: TestStreamStorage,
): Promise<void> {
  await using session = await openSession(url);
  await untilSeen(async () => {
    const [row] = await session.script(
      `SELECT count(*) FROM pg_locks
        WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted`,
    );
    return row![0] !== "0";
  });
}

/** Ids in ascending order. */
function mediaIds(count: number): StreamId[] {
  return Array.from({ length: count }, () => newStreamId("media")).sort();
}

function isError(code: string, reason: string) {
  return (error: unknown) =>
    isStreamStorageError(error, code as never) &&
    error.details["reason"] === reason &&
    error.operation === "sweepEphemeralStreams";
}

describe("The ephemeral sweeper", () => {
  it("removes old uploads completely, and nothing else", async () => {
    await using test = await openTestStorage();
    const { storage } = test;
    const [old, late, young] = mediaIds(3) as [StreamId, StreamId, StreamId];
    const space = newStreamId();
    await storage.createStreamStorage(space, snapshotBlock(0));
    await storage.createEphemeralStreamStorage(old, mediaGenesis(2).genesis);
    await storage.writeEphemeralMiniblock(old, block(1));
    // The chunk that arrives first is not the first one of the upload.
    await storage.writeEphemeralMiniblock(late, block(7));
    await storage.createEphemeralStreamStorage(young, mediaGenesis(2).genesis);
    for (const id of [old, late]) await age(test, id, ttlMs);
    await age(test, young, ttlMs - 60_000);

    const dry = await storage.maintenance.sweepEphemeralStreams({
      dryRun: true,
    });
    const expected = {
      dryRun: true,
      removed: 2,
      streamIds: [old, late],
      firstSeen: 0,
      failures: [],
    };
    assert.deepEqual(dry, expected);
    assert.equal(await storage.getStreamsNumber(), 4);

    const report = await storage.maintenance.sweepEphemeralStreams();
    assert.deepEqual(report, { ...expected, dryRun: false });
    assert.deepEqual(await storage.getStreams(), [space, young].sort());
    await using session = await openSession(test.url);
    await assertInvariants(session, {
      schema: test.schema,
      partitions: storage.partitions,
    });
    assert.deepEqual(
      await sql(test, "SELECT stream_id FROM @.stream_storage_ephemeral"),
      [[young]],
    );
    const again = await storage.maintenance.sweepEphemeralStreams();
    assert.equal(again.removed, 0);
  });

  it("uses the caller's age instead of its own", async () => {
    await using test = await openTestStorage({ ephemeralTtlMs: 1 });
    const { maintenance } = test.storage;
    const id = newStreamId("media");
    await test.storage.writeEphemeralMiniblock(id, block(3));
    const { removed } = await maintenance.sweepEphemeralStreams({
      ttlMs: 86_400_000,
    });
    assert.equal(removed, 0);
    const report = await maintenance.sweepEphemeralStreams({ ttlMs: 0 });
    assert.deepEqual(report.streamIds, [id]);
  });

  it("counts the age of an upload from the future as from now", async () => {
    await using test = await openTestStorage({ ephemeralSweepIntervalMs: 0 });
    const { maintenance } = test.storage;
    const ids = mediaIds(3) as [StreamId, StreamId, StreamId];
    for (const id of ids) {
      await test.storage.writeEphemeralMiniblock(id, block(3));
    }
    const year = 365 * 86_400_000;
    for (const id of ids) await age(test, id, -year);
    const sweep = async (options: SweepOptions) =>
      (await maintenance.sweepEphemeralStreams(options)).streamIds;
    assert.deepEqual(await sweep({ ttlMs: 0, dryRun: true }), ids);
    assert.deepEqual(await sweep({ ttlMs: 60_000_000 }), []);
    // Since that sweep, these uploads grow old like all others.
    await age(test, ids[1], 60_000_000);
    assert.deepEqual(await sweep({ ttlMs: 60_000_000, dryRun: true }), [
      ids[1],
    ]);
    await age(test, ids[2], -year);
    assert.deepEqual(await sweep({ ttlMs: 0 }), ids);
  });

  it("remembers ages across a restart, and begins those of a node's uploads", async () => {
    await using test = await openTestStorage();
    const { storage, url, schema } = test;
    const [ours, node, again] = mediaIds(3) as [StreamId, StreamId, StreamId];
    await storage.writeEphemeralMiniblock(ours, block(1));
    await age(test, ours, ttlMs - 300_000);
    const ground = { url, schema, partitions: storage.partitions };
    await plant(ground, node, plantedStream(run(0, 3), { ephemeral: true }));
    const first = await storage.maintenance.sweepEphemeralStreams();
    assert.deepEqual([first.removed, first.firstSeen], [0, 1]);
    await age(test, node, ttlMs - 300_000);
    await storage.close();

    await using reopened = await openStreamStorage({
      url,
      schema,
      startupDelayMs: 0,
      maxConnections: 5,
      workerConcurrency: 0,
    });
    const { maintenance } = reopened;
    const kept = await maintenance.sweepEphemeralStreams();
    assert.deepEqual([kept.removed, kept.firstSeen], [0, 0]);
    for (const id of [ours, node]) await age(test, id, 300_000);
    // A node that sealed its upload has left the age behind.
    await plant(ground, again, plantedStream(run(0, 3)));
    await sql(
      test,
      `INSERT INTO @.stream_storage_ephemeral VALUES ('${again}', 'epoch')`,
    );
    const report = await maintenance.sweepEphemeralStreams();
    assert.deepEqual(report.streamIds, [ours, node].sort());
    assert.deepEqual(await reopened.getStreams(), [again]);
    assert.deepEqual(
      await sql(test, "SELECT * FROM @.stream_storage_ephemeral"),
      [],
    );
  });

  it("removes more than a page of uploads, even if one can't be removed", async () => {
    await using test = await openTestStorage();
    const { storage } = test;
    const ids = mediaIds(230);
    await Promise.all(
      ids.map((id) => storage.writeEphemeralMiniblock(id, block(1))),
    );
    // A trigger refuses to delete this stream.
    const bad = ids[100]!;
    await sql(
      test,
      `CREATE FUNCTION @.refuse() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN RAISE EXCEPTION ''no''; END';
      CREATE TRIGGER refuse BEFORE DELETE ON @.es FOR EACH ROW
        WHEN (OLD.stream_id = '${bad}') EXECUTE FUNCTION @.refuse()`,
    );
    const report = await storage.maintenance.sweepEphemeralStreams({
      ttlMs: 0,
    });
    assert.equal(report.removed, 229);
    assert.deepEqual(report.failures, [{
      streamId: bad,
      code: "DB_OPERATION_FAILURE",
      reason: report.failures[0]!.reason,
    }]);
    assert.deepEqual(await storage.getStreams(), [bad]);
  });

  it("spares uploads that are sealed or renewed between its look and its lock", async () => {
    const applicationName = `sweeper ${crypto.randomUUID()}`;
    await using test = await openTestStorage({ applicationName });
    const { storage, url } = test;
    const [sealed, renewed] = mediaIds(2) as [StreamId, StreamId];
    const { genesis } = mediaGenesis(1);
    for (const id of [sealed, renewed]) {
      await storage.createEphemeralStreamStorage(id, genesis);
      await storage.writeEphemeralMiniblock(id, block(1));
      await age(test, id, ttlMs);
    }
    // Another session locks both rows: it seals one stream, and creates the
    // other again. The sweep has listed both streams when it meets the locks.
    await using other = await openSession(url);
    const schema = quoteIdentifier(test.schema);
    await other.script(`BEGIN;
      UPDATE ${schema}.es SET ephemeral = false WHERE stream_id = '${sealed}';
      UPDATE ${schema}.stream_storage_ephemeral SET created_at = now()
        WHERE stream_id = '${renewed}';
      SELECT 1 FROM ${schema}.es WHERE stream_id = '${renewed}' FOR UPDATE`);
    const sweeping = storage.maintenance.sweepEphemeralStreams();
    await lockWasWanted(test, applicationName);
    await other.script("COMMIT");
    const report = await sweeping;
    assert.deepEqual(report, {
      dryRun: false,
      removed: 0,
      streamIds: [],
      firstSeen: 0,
      failures: [],
    });
    assert.deepEqual(await storage.getStreams(), [sealed, renewed].sort());
    assert.equal(await storage.isStreamEphemeral(sealed), false);
  });

  it("does not hold up callers while the removal of a stream is stuck", async () => {
    await using test = await openTestStorage({ maxConnections: 5 });
    const { storage, url } = test;
    const [slow] = mediaIds(1) as [StreamId];
    await storage.writeEphemeralMiniblock(slow, block(1));
    await using other = await openSession(url);
    await other.script("SELECT pg_advisory_lock(4711)");
    await sql(
      test,
      `CREATE FUNCTION @.hang() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN OLD; END';
      CREATE TRIGGER hang BEFORE DELETE ON @.es FOR EACH ROW
        WHEN (OLD.stream_id = '${slow}') EXECUTE FUNCTION @.hang()`,
    );
    let isSwept = false;
    const sweeping = storage.maintenance.sweepEphemeralStreams({ ttlMs: 0 })
      .finally(() => isSwept = true);
    await advisoryLockIsWaitedFor(test);
    const ids = Array.from({ length: 20 }, () => newStreamId());
    await Promise.all(ids.map(async (id) => {
      await storage.createStreamStorage(id, snapshotBlock(0));
      await storage.writeEvent(id, 1n, 0, new Uint8Array(100_000));
      await storage.writeMiniblocks(
        id,
        run(1, 5).map((n) => block(n)),
        { generation: 6n, envelopes: [] },
        { generation: 1n, size: 1 },
      );
      await storage.readStreamFromLastSnapshot(id, 0);
    }));
    assert.equal(isSwept, false);
    await other.script("SELECT pg_advisory_unlock(4711)");
    assert.equal((await sweeping).removed, 1);
  });

  it("ends when another instance owns the schema", async () => {
    await using test = await openTestStorage({
      workerConcurrency: 1,
      ephemeralSweepIntervalMs: 1,
    });
    const { url, schema } = test;
    await using _successor = await openStreamStorage({
      url,
      schema,
      startupDelayMs: 0,
      maxConnections: 5,
      workerConcurrency: 0,
    });
    await assert.rejects(
      test.storage.maintenance.sweepEphemeralStreams(),
      // Either the signal or the fence stops the sweep.
      (error) =>
        isStreamStorageError(error, "RESOURCE_EXHAUSTED") &&
        error.details["reason"] === "ownership_lost",
    );
    await until(() => !test.storage.maintenance.workers()[0]!.running);
  });

  it("refuses bad options, an aborted signal and a closed store", async () => {
    const test = await openTestStorage();
    const { maintenance } = test.storage;
    for (
      const options of [{ ttlMs: -1 }, { ttlMs: 0.5 }, { dryRun: 1 }, {
        signal: 1,
      }]
    ) {
      await assert.rejects(
        maintenance.sweepEphemeralStreams(options as never),
        (error) => isStreamStorageError(error, "INVALID_ARGUMENT"),
      );
    }
    await assert.rejects(
      maintenance.sweepEphemeralStreams({ signal: AbortSignal.abort() }),
      isError("CANCELED", "aborted"),
    );
    await test[Symbol.asyncDispose]();
    await assert.rejects(
      maintenance.sweepEphemeralStreams(),
      isError("FAILED_PRECONDITION", "closed"),
    );
  });

  it("runs in the background, and stops with the store", async () => {
    const events: LogEvent[] = [];
    const swept = Promise.withResolvers<void>();
    await using test = await openTestStorage({
      workerConcurrency: 1,
      ephemeralSweepIntervalMs: 1,
      ephemeralTtlMs: 1,
      logger: (event) => {
        events.push(event);
        if (event.code === "worker_ran") swept.resolve();
      },
    });
    const { storage } = test;
    await storage.writeEphemeralMiniblock(newStreamId("media"), block(1));
    await swept.promise;
    assert.equal(await storage.getStreamsNumber(), 0);
    const [status] = storage.maintenance.workers();
    assert.equal(status?.name, "ephemeral_sweeper");
    assert.equal(status.circuit, "closed");
    assert.ok(status.runs > 0);
    assert.equal(status.lastRun?.failed, 0);
    await storage.close();
    const { runs } = storage.maintenance.workers()[0]!;
    await storage.close();
    assert.equal(storage.maintenance.workers()[0]!.runs, runs);
    assert.deepEqual(
      events.filter(({ level }) => level === "warn" || level === "error"),
      [],
    );
  });
});

describe("The workers of a store", () => {
  it("are those that its options ask for", async () => {
    const names = async (workerConcurrency: number) => {
      await using test = await openTestStorage({
        workerConcurrency,
        ephemeralSweepIntervalMs: 0,
      });
      return test.storage.maintenance.workers().map(({ name }) => name);
    };
    assert.deepEqual(await names(0), []);
    assert.deepEqual(await names(2), [
      "stream_trimmer",
      "stream_remover",
      "stream_counter",
    ]);
  });
});
