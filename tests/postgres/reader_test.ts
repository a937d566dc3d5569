/**
 * A reader beside an owner on a real server: it sees what the owner sees, needs
 * few rights, and the owner does not notice it. contract/reader_test.ts proves
 * that the reads are right, reader_opening_test.ts what a reader refuses to
 * open, and reader_standby_test.ts how it reads from standbys.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Session } from "../../src/database/session.ts";
import { openStreamReader } from "../../src/open_stream_reader.ts";
import { openReadCore } from "../../src/postgres/open_reader.ts";
import { streamMiniblocks } from "../../src/postgres/operations/read_miniblocks.ts";
import { debugReadStreamData } from "../../src/postgres/operations/debug.ts";
import { getMiniblockNumberRanges } from "../../src/postgres/operations/miniblock_numbers.ts";
import type { ReadTransactions } from "../../src/database/read_transactions.ts";
import type { MiniblockDescriptor } from "../../src/storage/model.ts";
import type { StreamReaderOptions } from "../../src/postgres/reader_options.ts";
import { bind, statement } from "../../src/database/statement.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  assertFails,
  block,
  bytes,
  candidate,
  legacyBlock,
  newStreamId,
  run,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { uniqueName } from "../support/database.ts";
import {
  everyRead,
  letNamesRest,
  mediaBlocks,
  onS3,
  sealMedia,
} from "../support/media/streams.ts";
import { startPgBouncer } from "../support/poolers/pgbouncer.ts";
import { installRoles } from "../support/migrations/roles.ts";
import { type S3Server, startS3Server } from "../support/media/s3_server.ts";
import { testSession } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";
import { storedRows } from "../support/stored_rows.ts";
import { untilSeen } from "../support/until.ts";

let test: TestStreamStorage;
let admin: Session;
let bucket: S3Server;
/** A stream with blocks, events and a candidate. */
let id: StreamId;
/** A stream whose blocks are in object storage. */
let moved: StreamId;

before(async () => {
  bucket = await startS3Server();
  test = await openTestStorage({ mediaStorage: onS3(bucket) });
  admin = await testSession();
  const { storage } = test;
  id = newStreamId("channel");
  await storage.createStreamStorage(id, snapshotBlock(0));
  await storage.writeMiniblocks(
    id,
    [block(1), legacyBlock(2), block(3)],
    { generation: 4n, envelopes: [bytes("one"), bytes("two")] },
    { generation: 1n, size: 0 },
  );
  await storage.writeMiniblockCandidate(id, candidate(4));
  moved = await sealMedia(storage);
  await storage.maintenance.offloadMedia({ streamId: moved });
});

after(async () => {
  await admin?.close();
  await test?.[Symbol.asyncDispose]();
  await bucket?.[Symbol.asyncDispose]();
});

const open = (options: Partial<StreamReaderOptions> = {}) =>
  openStreamReader({
    url: test.url,
    schema: test.schema,
    mediaStorage: onS3(bucket),
    ...options,
  });

/** All reads of all streams. */
async function readAll(reader: Awaited<ReturnType<typeof open>>) {
  const ids = await reader.getStreams();
  const reads = await Promise.all(ids.map((id) => everyRead(reader, id)));
  return [ids, await reader.getStreamsNumber(), reads];
}

describe("A reader beside an owner", () => {
  it("reads what the owner reads, under a name of its own", async () => {
    await using reader = await open();
    assert.deepEqual(await readAll(reader), await readAll(test.storage));
    assert.equal(reader.partitions, test.storage.partitions);
    assert.equal(reader.schema, test.schema);
    const names = await admin.script(
      "SELECT DISTINCT application_name FROM pg_stat_activity " +
        "WHERE application_name = 'stream-reader'",
    );
    assert.deepEqual(names, [["stream-reader"]]);
    assert.ok(reader.metrics().length > 0);
  });

  it("has no method that writes", async () => {
    await using reader = await open();
    for (
      const name of [
        "createStreamStorage",
        "deleteStream",
        "writeEvent",
        "maintenance",
        "trimStream",
        "debugDeleteMiniblocks",
      ]
    ) {
      assert.equal(name in reader, false, name);
    }
  });

  it("changes no row, takes only the locks of reads, and notifies nobody", async () => {
    const { schema, storage } = test;
    let notices = 0;
    admin.onNotification(() => void notices++);
    await admin.script("LISTEN singlenodekey");
    const rows = await storedRows(admin, schema);
    const reader = await open();
    // The transaction shows its own locks while it is open.
    await using core = await openReadCore({ url: test.url, schema });
    const [, { rows: locks }, { rows: [kind] }] = await core.transactions.read(
      { name: "test" },
      [
        bind(statement({
          text: `SELECT pg_catalog.count(*) FROM ${core.catalog.table("es")}`,
          columns: ["int8"],
        })),
        bind(statement({
          text: `SELECT DISTINCT locktype, mode FROM pg_catalog.pg_locks
            WHERE pid = pg_catalog.pg_backend_pid()
              AND locktype <> 'virtualxid'`,
          columns: ["text", "text"],
        })),
        bind(statement({
          text: `SELECT pg_catalog.current_setting('transaction_read_only'),
            pg_catalog.current_setting('transaction_isolation'),
            pg_catalog.pg_current_xact_id_if_assigned()::text`,
          columns: ["text", "text", "text?"],
        })),
      ],
    );
    assert.deepEqual(locks, [["relation", "AccessShareLock"]]);
    assert.deepEqual(kind, ["on", "repeatable read", null]);
    await readAll(reader);
    await reader.close();
    assert.deepEqual(await storedRows(admin, schema), rows);
    // Every notification that was sent before this reply has arrived.
    await admin.script("UNLISTEN singlenodekey");
    assert.equal(notices, 0);
    assert.equal(storage.signal.aborted, false);
    await storage.writeEvent(id, 4n, 2, bytes("three"));
  });

  for (const preparedStatements of [true, false]) {
    it(`can't write, even as a superuser (prepared statements: ${preparedStatements})`, async () => {
      const { url, schema } = test;
      const retry = { attempts: 1 };
      const options = { url, schema, preparedStatements, retry };
      await using core = await openReadCore(options);
      const table = core.catalog.table("es");
      await assertFails(
        core.transactions.read({ name: "test" }, [
          bind(statement({ text: `DELETE FROM ${table}` })),
        ]),
        { code: "UNAVAILABLE", reason: "read_only_server" },
      );
    });
  }

  it("sees what is written and deleted while it is open", async () => {
    await using reader = await open();
    const other = newStreamId("channel");
    await assertFails(reader.getLastMiniblockNumber(other), {
      code: "NOT_FOUND",
      reason: "stream_not_found",
    });
    for (const holds of [true, false]) {
      await test.storage.createStreamStorage(other, snapshotBlock(0));
      const last = holds ? legacyBlock(2) : block(2);
      await test.storage.writeMiniblocks(
        other,
        [block(1), last],
        { generation: 3n, envelopes: [] },
        { generation: 1n, size: 0 },
      );
      // The numbers are the same. What was known about the first stream's blocks
      // must not be believed of these.
      const [range] = await reader.getMiniblockNumberRanges(other);
      assert.deepEqual(range?.snapshotSeqNums, holds ? [0n, 2n] : [0n]);
      await test.storage.deleteStream(other);
    }
  });

  it("works through a pooler in transaction mode, and leaves no setting behind", async () => {
    // With one session of the server, the pooler's other clients get the same.
    const settings = {
      default_pool_size: 1,
      ignore_startup_parameters: "options",
    };
    await using pooler = await startPgBouncer(test.url, settings);
    await using reader = await open({ url: pooler.url });
    assert.deepEqual(await readAll(reader), await readAll(test.storage));
    const names = [
      "default_transaction_read_only",
      "search_path",
      "enable_seqscan",
    ];
    const selectAll = `SELECT ${
      names.map((name) => `current_setting('${name}')`)
    }`;
    await using other = await testSession({ url: pooler.url });
    await using direct = await testSession({ url: test.url });
    assert.deepEqual(
      await other.script(selectAll),
      await direct.script(selectAll),
    );
  });

  it("works with one connection", async () => {
    await using reader = await open({ maxConnections: 1 });
    const reads = run(1, 20).map(() => everyRead(reader, id));
    const [first, ...others] = await Promise.all(reads);
    for (const other of others) assert.deepEqual(other, first);
  });
});

describe("A reader's search for snapshots", () => {
  it("does not mix blocks from before and after its start", async () => {
    const { storage, url, schema } = test;
    const other = newStreamId("channel");
    const make = (special: readonly MiniblockDescriptor[]) => {
      const blocks = run(0, 9).map((number) =>
        special.find((block) => block.number === number) ?? block(number)
      );
      return storage.reinitializeStreamStorage(other, blocks, 0n, false);
    };
    await make([snapshotBlock(0), snapshotBlock(5)]);
    await using core = await openReadCore({ url, schema });
    let reads = 0;
    const read: typeof core.transactions.read = async (context, bound) => {
      const found = await core.transactions.read(context, bound);
      if (++reads === 1) {
        // The numbers are the same, but the blocks are others.
        await storage.deleteStream(other);
        await make([snapshotBlock(0), legacyBlock(7)]);
      }
      return found;
    };
    const ranges = await getMiniblockNumberRanges(
      { catalog: core.catalog, transactions: { read } as ReadTransactions },
      { name: "test", streamId: other },
    );
    assert.deepEqual(ranges.map((its) => its.snapshotSeqNums), [[0n, 7n]]);
  });
});

describe("A reader's read of a stream in object storage", () => {
  it("may take longer than a call if it goes by pages, even without checksums", async () => {
    const { storage, url, schema } = test;
    const node = await sealMedia(storage);
    await storage.maintenance.offloadMedia({ streamId: node });
    // A node keeps only where the blocks are, and no checksums.
    await admin.script(
      `DELETE FROM "${schema}".stream_storage_media_blocks
       WHERE stream_id = '${node}'`,
    );
    const mediaStorage = onS3(bucket);
    await using core = await openReadCore({ url, schema, mediaStorage });
    const call = { name: "test", streamId: node, deadline: 0 };
    const read = { from: 0n, to: 9n, omitSnapshot: false };
    const blocks = await Array.fromAsync(streamMiniblocks(core, call, read));
    assert.equal(blocks.length, 4);
  });

  it("does not mix two streams of the same id", async () => {
    const { storage, url, schema } = test;
    await using core = await openReadCore({
      url,
      schema,
      mediaStorage: onS3(bucket),
    });
    const make = async (chunks: number, other?: StreamId) => {
      const id = await sealMedia(storage, mediaBlocks({ chunks }), other);
      await storage.maintenance.offloadMedia({ streamId: id });
      return id;
    };
    const other = await make(2);
    let reads = 0;
    const read: typeof core.transactions.read = async (context, bound) => {
      const found = await core.transactions.read(context, bound);
      if (++reads === 1) {
        await storage.deleteStream(other);
        await letNamesRest(test);
        await make(3, other);
      }
      return found;
    };
    const { catalog, media } = core;
    const data = await debugReadStreamData(
      { catalog, media, transactions: { read } as ReadTransactions },
      { name: "test", streamId: other },
    );
    // The minipool's generation follows the last block: both must agree.
    assert.deepEqual(
      [data.miniblocks.length, data.events[0]?.generation],
      [4, 4n],
    );
  });
});

describe("A reader needs", () => {
  it("only the read role", async () => {
    await using roles = await installRoles();
    const { schema, urls } = roles;
    await using reader = await openStreamReader({ url: urls.read, schema });
    assert.deepEqual(await reader.getStreams(), []);
    await assertFails(reader.getMiniblockNumberRanges(id), {
      code: "NOT_FOUND",
    });
  });

  it("only SELECT on the node's tables", async () => {
    const { schema, url } = test;
    const role = uniqueName("reader");
    const login = new URL(url);
    login.username = role;
    login.password = "reader";
    await admin.script(
      `CREATE ROLE ${role} LOGIN PASSWORD 'reader';
       GRANT USAGE ON SCHEMA "${schema}" TO ${role};
       DO $$ DECLARE t text; BEGIN
         FOR t IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
           WHERE schemaname = '${schema}' AND tablename NOT LIKE 'stream_storage_%'
             AND tablename <> 'singlenodekey'
         LOOP EXECUTE 'GRANT SELECT ON ' || t || ' TO ${role}'; END LOOP;
       END $$`,
    );
    try {
      await using reader = await open({ url: login.href });
      assert.deepEqual(
        await everyRead(reader, id),
        await everyRead(test.storage, id),
      );
      // A part of these blocks is in a table of our own.
      await assertFails(reader.readMiniblocks(moved, 0n, 9n), {
        code: "BAD_CONFIG",
        reason: "insufficient_privilege",
      });
    } finally {
      await admin.script(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
    }
  });

  it("object storage only for the streams that are there", async () => {
    await using reader = await openStreamReader({
      url: test.url,
      schema: test.schema,
    });
    for (
      const read of [
        () => reader.readMiniblocks(moved, 0n, 9n),
        () => reader.readStreamFromLastSnapshot(moved, 0),
      ]
    ) {
      await assertFails(read(), {
        code: "FAILED_PRECONDITION",
        reason: "media_storage_not_configured",
      });
    }
    assert.equal(await reader.streamMiniblocksStoredLocation(moved), "s3");
    assert.equal(await reader.getLastMiniblockNumber(moved), 3n);
    assert.deepEqual(
      await everyRead(reader, id),
      await everyRead(test.storage, id),
    );
  });
});

describe("A closed reader", () => {
  it("refuses calls, and leaves no session", async () => {
    const applicationName = `closed ${crypto.randomUUID().slice(0, 8)}`;
    const reader = await open({ applicationName });
    await readAll(reader);
    await reader.close();
    await reader.close();
    await assertFails(reader.getStreams(), {
      code: "FAILED_PRECONDITION",
      reason: "closed",
      operation: "getStreams",
    });
    await untilSeen(async () => {
      const left = await admin.script(
        `SELECT 1 FROM pg_stat_activity WHERE application_name = '${applicationName}'`,
      );
      return left.length === 0;
    });
  });
});
