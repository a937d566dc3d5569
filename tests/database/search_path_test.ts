/**
 * Nothing that another user made runs in our name. On a real server, every
 * statement, migration and command meets operators, functions, types, casts and
 * views that fit better than PostgreSQL's own, wherever a search path could
 * lead (support/hostile_database.ts).
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import pg from "pg";
import { Home } from "../../src/database/cluster/home.ts";
import { parseConnectionUrl } from "../../src/database/connection_target.ts";
import { connectSession } from "../../src/database/driver.ts";
import { connectLastingSession } from "../../src/database/lasting_session.ts";
import {
  printGrants,
  printMigrations,
} from "../../src/database/migrations/mod.ts";
import { Ownership } from "../../src/database/ownership.ts";
import { searchPath } from "../../src/database/search_path.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import {
  applyRepairs,
  copyStreams,
  diffStreams,
  doctor,
  exportStreams,
  findStores,
  importStreams,
  inspectStream,
  listBlocks,
  listStreams,
  mediaStatus,
  planRepairs,
  planStoreMigrations,
  readBlock,
  simulateTrimming,
  storeStatus,
  storeUsage,
  undoRepairs,
  verify,
  watchStore,
} from "../../src/operator/mod.ts";
import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { CORE_FAMILIES } from "../../src/testing/contract.ts";
import {
  block,
  bytes,
  candidate,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import { aborted } from "../support/aborted.ts";
import { queryOnce } from "../support/database.ts";
import {
  type HostileDatabase,
  makeHostileDatabase,
  temporaryTraps,
} from "../support/hostile_database.ts";
import { everyRead, onS3, sealMedia } from "../support/media/streams.ts";
import { startPgBouncer } from "../support/poolers/pgbouncer.ts";
import { startS3Server } from "../support/media/s3_server.ts";
import { sharedStoreContract } from "../support/shared_store_contract.ts";
import {
  dependenciesOf,
  SentStatements,
  unqualifiedNames,
} from "../support/statement_names.ts";
import { statements } from "../support/statements.ts";

let database: HostileDatabase;
let sent: SentStatements;
let schemas = 0;

before(async () => {
  database = await makeHostileDatabase();
  sent = new SentStatements();
});

after(async () => {
  sent[Symbol.dispose]();
  await database[Symbol.asyncDispose]();
});

/** Opens a store as the role whose search path leads to traps. */
function open(
  options: Partial<StreamStorageOptions> = {},
): Promise<PostgresStreamStorage> {
  return openStreamStorage({
    url: database.urls.steered,
    schema: `store_${schemas++}`,
    partitions: 1,
    maxConnections: 5,
    startupDelayMs: 0,
    workerConcurrency: 0,
    ...options,
  });
}

const sessionOptions = {
  preparedStatements: true,
  answerTimeoutMs: 60_000,
};

async function assertNoTrap(): Promise<void> {
  assert.equal(await database.traps(), 0);
}

/** Runs `body` while another client holds the owner's row. */
async function whileHeld<T>(
  { url, schema }: { url: string; schema: string },
  body: () => Promise<T>,
): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {}); // The store ends this session.
  await client.connect();
  try {
    await client.query("BEGIN");
    await client.query(`SELECT FROM ${schema}.singlenodekey FOR SHARE`);
    return await body();
  } finally {
    await client.end();
  }
}

/**
 * The trigger as nodes make it: its call fits no function of PostgreSQL
 * exactly.
 */
function triggerOfNodes(schema: string): string {
  return `CREATE OR REPLACE FUNCTION ${schema}.notify_on_upsert() RETURNS trigger
    LANGUAGE plpgsql AS $$ BEGIN
      PERFORM pg_notify(TG_TABLE_NAME, TG_TABLE_SCHEMA);
      RETURN NEW;
    END $$`;
}

/** Whether a write succeeds: deadlines are short, so some may fail at first. */
async function takesWrites(storage: PostgresStreamStorage): Promise<boolean> {
  try {
    await storage.createStreamStorage(newStreamId(), snapshotBlock(0));
    return true;
  } catch (error) {
    assert.ok(isStreamStorageError(error, "DEADLINE_EXCEEDED"), String(error));
    return false;
  }
}

/** Takes a schema over from another instance, and raises the epoch. */
async function takeOver(
  options: Partial<StreamStorageOptions> & { url: string },
): Promise<void> {
  const first = await open({ ...options, operationTimeoutMs: 250 });
  const { schema } = first;
  await queryOnce(database.url, triggerOfNodes(schema));
  const owned = { ...options, schema };
  const second = await whileHeld(
    owned,
    () => open({ ...owned, migrate: "skip", operationTimeoutMs: 250 }),
  );
  await aborted(first.signal);
  while (!await takesWrites(second));
  const target = parseConnectionUrl(options.url);
  const connect = () => connectLastingSession(target, sessionOptions);
  const ownership = await Ownership.take({
    schema,
    home: new Home({ schema, connect }),
    instanceId: "third",
    whenOwned: "take",
    prepare: () => Promise.resolve(),
    connect,
    startupDelayMs: 0,
    leaseMs: 60_000,
    stuckWriteMs: 60_000,
    onEvent: () => {},
  });
  await aborted(second.signal);
  const { fence } = ownership;
  const path = { search_path: searchPath };
  await using session = await connectSession(target, path, sessionOptions);
  await whileHeld(owned, async () => {
    fence.doubt(fence.epoch);
    const deadline = performance.now() + 60_000;
    await fence.renew((bound) => session.run(bound), deadline);
  });
  await session.run([fence.statement]);
  await ownership.release(60_000);
  for (const storage of [first, second]) await storage.close();
}

describe("A trap", () => {
  it("catches a statement that relies on the search path", async () => {
    const statement = "SELECT 'a'::varchar = 'a'::varchar";
    const { urls, roles } = database;
    for (const role of ["plain", "steered"] as const) {
      const trap = new RegExp(`Trap: operator.*varchar ran as ${roles[role]}`);
      await assert.rejects(queryOnce(urls[role], statement), trap);
    }
    await assert.rejects(
      queryOnce(urls.steered, "SELECT count(*) FROM (VALUES (1)) AS v"),
      /Trap|not an aggregate/,
    );
    await queryOnce(database.url, "ALTER SEQUENCE evil.traps RESTART");
    await assertNoTrap();
  });
});

describe("A store whose search path leads to traps first", () => {
  describe("keeps the core of the contract", () => {
    sharedStoreContract(async () => {
      const storage = await open({ partitions: 2 });
      await storage.close();
      return {
        url: database.urls.steered,
        administrator: database.url,
        schema: storage.schema,
        partitions: 2,
        startupDelayMs: 0,
      };
    }, CORE_FAMILIES);
    after(assertNoTrap);
  });

  it("can be taken over, and raises its epoch", async () => {
    await takeOver({ url: database.urls.steered });
    await assertNoTrap();
  });

  it("has working workers, quotas and media", async () => {
    await using s3 = await startS3Server();
    await using storage = await open({
      mediaStorage: onS3(s3),
      workerConcurrency: 2,
      trimming: { activationFactor: 1, historyMiniblocks: { default: 1n } },
      quotas: { minipoolBytes: 10_000, candidatesPerHeight: 5 },
    });
    const { maintenance } = storage;
    const media = await sealMedia(storage);
    await maintenance.offloadMedia({ streamId: media });
    await everyRead(storage, media);
    await maintenance.reconcileMedia();
    await maintenance.rehydrateMedia(media);
    await everyRead(storage, media);
    await storage.deleteStream(media);
    const upload = await uploadOf(storage);
    const { streamIds } = await maintenance.sweepEphemeralStreams({ ttlMs: 0 });
    assert.deepEqual(streamIds, [upload]);
    const id = await longStream(storage);
    await storage.writeEvent(id, 4n, 0, bytes("event"));
    await maintenance.trimStreams({ streamId: id });
    assert.deepEqual(await storage.getMiniblockNumberRanges(id), [{
      startInclusive: 2n,
      endInclusive: 3n,
      snapshotSeqNums: [2n, 3n],
    }]);
    await assertNoTrap();
  });

  for (const isolationLevel of ["repeatable read", "serializable"] as const) {
    it(`writes at ${isolationLevel}`, async () => {
      await using storage = await open({ isolationLevel });
      const id = await longStream(storage);
      await Promise.all(
        [0, 1, 2].map((slot) => storage.writeEvent(id, 4n, slot, bytes("e"))),
      );
      await assertNoTrap();
    });
  }
});

async function uploadOf(storage: PostgresStreamStorage) {
  const id = newStreamId("media");
  await storage.createEphemeralStreamStorage(id, block(0));
  return id;
}

/** Makes a stream of four blocks, each with a snapshot. */
async function longStream(storage: PostgresStreamStorage) {
  const id = newStreamId();
  const blocks = [0, 1, 2, 3].map((number) => snapshotBlock(number));
  await storage.reinitializeStreamStorage(id, blocks, 3n, false);
  return id;
}

describe("Migrations", () => {
  it("meet no trap on a node's schema, nor does their hook", async () => {
    const { url, urls } = database;
    const first = await open();
    const { schema } = first;
    await first.close();
    await migrateProgram("down", urls.steered, schema, "--to", "6");
    const rows = await queryOnce(
      url,
      `SELECT relname FROM pg_catalog.pg_class WHERE relkind = 'r'
         AND relnamespace = '${schema}'::pg_catalog.regnamespace
         AND relname LIKE 'stream!_storage!_%' ESCAPE '!'`,
    );
    const own = rows.map(({ relname }) => `${schema}.${relname}`);
    await queryOnce(url, `DROP TABLE ${own.join(", ")}`);
    const seen: unknown[] = [];
    for (const migrate of ["apply", "check", "skip"] as const) {
      await using storage = await open({
        schema,
        migrate,
        beforeMigration: async (session) =>
          void seen.push(await session.script("SHOW search_path")),
      });
      await longStream(storage);
    }
    assert.deepEqual(seen, [[[searchPath]]]);
    await assertNoTrap();
  });

  it("meet no trap as a command, or as the SQL that it prints", async () => {
    const { steered } = database.urls;
    const run = (command: string, ...more: string[]) =>
      migrateProgram(command, steered, "commanded", ...more);
    await run("up", "--partitions", "1");
    await run("check");
    await run("print");
    await run("down", "--to", "8");
    await run("down", "--to", "0");
    const printed = printMigrations({ schema: "printed", partitions: 1 });
    await runScript(steered, printed);
    await (await open({ schema: "printed", migrate: "check" })).close();
    await assertNoTrap();
  });

  it("meet no trap when an administrator grants rights", async () => {
    const { url, urls, roles } = database;
    const storage = await open({ url: urls.plain });
    await storage.close();
    const grants = printGrants({
      schema: storage.schema,
      migrateRole: roles.steered,
      runRole: roles.plain,
      readRole: "pg_monitor",
    });
    await runScript(url, grants, `${roles.plain}, public, pg_catalog`);
    await assertNoTrap();
  });
});

/**
 * Runs a script as psql does, statement by statement, with this search path.
 */
async function runScript(
  url: string,
  script: string,
  path?: string,
): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    if (path !== undefined) await client.query(`SET search_path = ${path}`);
    for (const section of script.split("\n\n")) await client.query(section);
  } finally {
    await client.end();
  }
}

async function migrateProgram(
  command: string,
  url: string,
  schema: string,
  ...more: string[]
): Promise<void> {
  const program = new URL("../../src/cli/main.ts", import.meta.url);
  const prefix = "Deno" in globalThis ? ["run", "-A", "--no-check"] : [];
  await promisify(execFile)(process.execPath, [
    ...prefix,
    fileURLToPath(program),
    ...["migrate", command],
    ...["--url", url, "--schema", schema],
    ...more,
  ], { maxBuffer: 8 << 20 });
}

describe("A store behind a pooler in transaction mode", () => {
  describe("keeps the core of the contract", () => {
    sharedStoreContract(async (cleanUp) => {
      const { url: administrator, urls } = database;
      const pooler = cleanUp.use(await startPgBouncer(urls.steered));
      const behind = { url: pooler.url, ownershipUrl: urls.steered };
      const storage = await open({ ...behind, partitions: 2 });
      await storage.close();
      return {
        ...behind,
        administrator,
        schema: storage.schema,
        partitions: 2,
        startupDelayMs: 0,
      };
    }, CORE_FAMILIES);
    after(assertNoTrap);
  });
});

describe("A store behind a pooler that drops the settings of sessions", () => {
  const cleanUp = new AsyncDisposableStack();
  let url: string;

  before(async () => {
    const pooler = await startPgBouncer(database.urls.plain, {
      pool_mode: "session",
      ignore_startup_parameters: "options",
      default_pool_size: 40,
    });
    cleanUp.use(pooler);
    url = pooler.url;
  });
  after(() => cleanUp.disposeAsync());

  it("has sessions with the server's default search path", async () => {
    const target = parseConnectionUrl(url);
    const path = { search_path: searchPath };
    await using session = await connectSession(target, path, sessionOptions);
    assert.deepEqual(await session.script("SHOW search_path"), [[
      '"$user", public',
    ]]);
  });

  it("can be taken over, and raises its epoch", async () => {
    await takeOver({ url });
    await assertNoTrap();
  });

  describe("keeps the core of the contract", () => {
    sharedStoreContract(async () => {
      const storage = await open({ url, partitions: 2 });
      await storage.close();
      return {
        url,
        administrator: database.url,
        schema: storage.schema,
        partitions: 2,
        startupDelayMs: 0,
      };
    }, CORE_FAMILIES);
    after(assertNoTrap);
  });
});

/** Repairs damage of each kind, so that the tools send their statements. */
async function mendDamage(
  { url, urls }: HostileDatabase,
  schema: string,
): Promise<void> {
  const stream = (i: number) => `'20${String(i).padStart(62, "0")}'`;
  const table = (name: string) => `"${schema}".${name}`;
  await queryOnce(
    url,
    [
      ...[1, 2, 3, 4].map((i) =>
        `INSERT INTO ${table("es")} VALUES (${stream(i)}, 9, true)`
      ),
      ...[1, 2, 3, 4, 5].map((i) =>
        `INSERT INTO ${table("miniblocks_r00")} VALUES (${
          stream(i)
        }, 0, 'block')`
      ),
      `INSERT INTO ${table("minipools_r00")} VALUES (${
        stream(1)
      }, 1, 0, 'event')`,
      `INSERT INTO ${table("miniblock_candidates_r00")}
        VALUES (${stream(2)}, 0, 'hash', 'block')`,
      `UPDATE ${table("es")} SET ephemeral = true WHERE stream_id = ${
        stream(3)
      }`,
      `INSERT INTO ${table("minipools_r00")} VALUES (${
        stream(3)
      }, 1, -1, NULL)`,
    ].join("; "),
  );
  const place = { url: urls.steered, schema, startupDelayMs: 0 };
  const verified = () => {
    const { url, schema } = place;
    return Array.fromAsync(verify({ url, schema, level: "deep" }));
  };
  const directory = await mkdtemp(join(tmpdir(), "stream-storage-undo-"));
  try {
    const undoFile = join(directory, "undo");
    const plan = planRepairs(await verified());
    const results = await applyRepairs(plan, { ...place, undoFile });
    const done = results.filter(({ outcome }) => outcome === "done");
    assert.equal(done.length, 9, JSON.stringify(results));
    assert.deepEqual(await verified(), []);
    await undoRepairs(undoFile, place);
    const { url, schema } = place;
    await Array.fromAsync(
      verify({
        url,
        schema,
        level: "deep",
        since: 1,
        streamIds: [stream(1).slice(1, -1)],
      }),
    );
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Transfers streams, small and in pieces, so that the tools send theirs. */
async function moveStreams({ urls }: HostileDatabase): Promise<void> {
  const [source, target] = [await open(), await open()];
  const [small, large] = [newStreamId("space"), newStreamId("media")];
  await source.createStreamStorage(small, block(0));
  await source.writeMiniblockCandidate(small, candidate(1));
  await source.createEphemeralStreamStorage(large, block(0));
  for (const number of [1, 2, 3]) {
    const data = new Uint8Array(1_500_000);
    await source.writeEphemeralMiniblock(large, {
      number: BigInt(number),
      data,
    });
  }
  await source.close();
  await target.close();
  const url = urls.steered;
  const from = { url, schema: source.schema };
  const to = { url, schema: target.schema, startupDelayMs: 0 };
  const directory = await mkdtemp(join(tmpdir(), "stream-storage-move-"));
  try {
    const file = join(directory, "streams");
    await exportStreams({ ...from, file });
    for (const existing of ["refuse", "replace"] as const) {
      const { written } = await importStreams({ ...to, file, existing });
      assert.equal(written, 2);
    }
    const { written } = await copyStreams({ from, to, existing: "replace" });
    assert.equal(written, 0);
    const again = await openStreamStorage({ ...from, startupDelayMs: 0 });
    const snapshot = new Uint8Array(2_000_000);
    for (const number of [4, 5, 6]) {
      const data = bytes("block");
      const block = { number: BigInt(number), data, snapshot };
      await again.writeEphemeralMiniblock(large, block);
    }
    await again.close();
    const extended = await copyStreams({ from, to });
    assert.equal(extended.written, 1);
    const right = { url, schema: target.schema };
    assert.equal((await diffStreams({ left: from, right })).different, 0);
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Looks at a store with the operator's tools, so that they send theirs. */
async function lookAfter(
  { urls }: HostileDatabase,
  schema: string,
): Promise<void> {
  const url = urls.steered;
  const { diagnoses } = await doctor({ url, schema });
  // Every check has run, because this role has the rights of a store's role.
  assert.deepEqual(
    diagnoses.filter(({ level }) => level === "unknown"),
    [],
  );
  let looks = 0;
  for await (const look of watchStore({ url, schema, intervalMs: 100 })) {
    assert.ok(!("lost" in look), JSON.stringify(look));
    // The tool looks at busy partitions more closely.
    if (look.partitions.length > 0 || ++looks > 30) break;
  }
  await storeStatus({ url, schema });
  await lookAtStreams({ url, schema });
}

/** Sends the statements of usage, list, inspect, trim, media and migrate. */
async function lookAtStreams(
  place: { url: string; schema: string },
): Promise<void> {
  const { url, schema } = place;
  assert.ok((await findStores({ url })).some((its) => its.schema === schema));
  await planStoreMigrations(place);
  await storeUsage(place);
  await mediaStatus(place);
  const trimming = { historyMiniblocks: { default: 1n } };
  await simulateTrimming({ ...place, trimming });
  const pages = await Array.fromAsync(listStreams(place));
  const streams = pages.flat();
  assert.ok(streams.length > 0);
  for (const { streamId } of streams.slice(0, 3)) {
    await inspectStream({ ...place, streamId });
    const blocks = await Array.fromAsync(listBlocks({ ...place, streamId }));
    const number = blocks.flat().find((block) => !("startByte" in block))
      ?.number;
    if (number !== undefined) await readBlock({ ...place, streamId, number });
  }
}

/** Texts that were sent and in which no name is looked up. */
const plain =
  /^(COMMIT|ROLLBACK|BEGIN ISOLATION LEVEL READ COMMITTED$|(UN)?LISTEN|LOCK TABLE "|COPY "|SET (LOCAL lock_timeout|transaction_isolation) |SHOW |SELECT 1; COMMIT;$)/;

describe("No statement", () => {
  let client: pg.Client;
  let ours: string;

  before(async () => {
    const storage = await open({ partitions: 1 });
    await storage.close();
    ours = storage.schema;
    for (const [, { text, params }] of statements(ours)) {
      sent.texts.set(text, params);
    }
    await mendDamage(database, ours);
    await moveStreams(database);
    await lookAfter(database, ours);
    client = new pg.Client({ connectionString: database.url });
    await client.connect();
  });
  after(() => client.end());

  /** The statements with names to look up, each for one partition. */
  function looking(): (readonly [string, readonly string[]])[] {
    const alike = new Map(
      [...sent.texts].map(([text, params]) => [
        text.replaceAll(/store_\d+|_[rm][0-9a-f]{2}\b/g, ""),
        // A text that ends its transaction can't be the body of a function.
        [text.replace(/;\nCOMMIT$/, ""), params] as const,
      ]),
    );
    return [...alike.values()].filter(([text]) =>
      !plain.test(text) && !text.startsWith("BEGIN ISOLATION")
    );
  }

  async function foreignOnes(path: string): Promise<string[]> {
    await client.query(`SET search_path = ${path}`);
    const found: string[] = [];
    for (const [text, params] of looking()) {
      const names = await dependenciesOf(client, text, params as never)
        .catch((error) => [`${error.message}`]);
      const foreign = names.filter((name) =>
        !/^(store_\d+|commanded|printed|pg_catalog) /.test(name)
      );
      if (foreign.length > 0) found.push(`${foreign.join(", ")} in ${text}`);
    }
    return found;
  }

  it("escapes these tests, and no transaction lacks the search path", () => {
    assert.ok(looking().length > 150, `${looking().length} statements`);
    for (const [text] of sent.texts) {
      if (!/^BEGIN ISOLATION.*\n/.test(text)) continue;
      assert.ok(
        text.includes(`\nSET LOCAL search_path = ${searchPath};`),
        text,
      );
    }
  });

  it("names a function or a type without its schema", () => {
    const found = looking().flatMap(([text]) =>
      unqualifiedNames(text).map((name) => `${name} in ${text}`)
    );
    assert.deepEqual(found, []);
  });

  it("uses another user's operator where no search path is set", async () => {
    const path = `${database.roles.plain}, public`;
    assert.deepEqual(await foreignOnes(path), []);
  });

  it("uses another user's function, type or table, wherever it is", async () => {
    assert.deepEqual(await foreignOnes(database.namesFirst), []);
    for (const trap of temporaryTraps) await client.query(trap);
    assert.deepEqual(await foreignOnes("public"), []);
  });
});
