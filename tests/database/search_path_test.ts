/**
 * Nothing that another user made runs in our name. On a real server, every
 * statement, migration and command meets operators, functions, types, casts and
 * views that fit better than PostgreSQL's own, wherever a search path could
 * lead (support/hostile_database.ts).
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
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
import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { CORE_FAMILIES } from "../../src/testing/contract.ts";
import {
  block,
  bytes,
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import { aborted } from "../support/aborted.ts";
import { runCli } from "../support/cli/run.ts";
import { queryOnce } from "../support/database.ts";
import {
  type HostileDatabase,
  makeHostileDatabase,
  temporaryTraps,
} from "../support/hostile_database.ts";
import { everyRead, onS3, sealMedia } from "../support/media/streams.ts";
import {
  lookAtStore,
  repairDamage,
  transferStreams,
} from "../support/operator_calls.ts";
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
    const upload = newStreamId("media");
    await storage.createEphemeralStreamStorage(upload, block(0));
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
  const place = ["--url", url, "--schema", schema];
  const ended = await runCli(["migrate", command, ...place, ...more]);
  assert.equal(ended.code, 0, ended.stderr);
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
    await repairDamage(database, ours);
    await transferStreams(database, open);
    await lookAtStore(database, ours);
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
