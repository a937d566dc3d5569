/**
 * The contract over PostgreSQL behind a proxy that cuts connections at random
 * messages, delays messages, and now and then lets a connection fall silent. No
 * test may notice: the store repeats a call that was lost, or recognises that
 * it was done.
 *
 * STREAM_STORAGE_STORM_SEED repeats the random choices; which call they hit
 * also depends on timing.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, describe } from "node:test";
import type { Session } from "../../src/database/session.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { streamStorageContract } from "../../src/testing/contract.ts";
import type { ContractStore } from "../../src/testing/contract/suite.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { emptyTables } from "../support/empty_tables.ts";
import { openSession } from "../support/migration_connection.ts";
import { plant } from "../support/plant.ts";
import {
  type Proxy as Wire,
  type Rule,
  startProxy,
} from "../support/network/proxy.ts";
import { Random } from "../support/random.ts";
import { openTestStorage } from "../support/storage.ts";

const seed = process.env.STREAM_STORAGE_STORM_SEED ?? "20240601";
const partitions = 2;

/** Calls must outlast many cuts, and soon give up a silent connection. */
const options = {
  partitions,
  maxConnections: 5,
  startupDelayMs: 0,
  operationTimeoutMs: 30_000,
  statementTimeoutMs: 800,
  retry: { attempts: 100, minDelayMs: 1, maxDelayMs: 50 },
};

interface Storm {
  rule: Rule;
  cuts: number;
  silences: number;
  /** Calls during which no connection is cut. */
  shelters: number;
}

/**
 * Lets each connection live for 8 to 5000 messages, and then cuts it at the
 * next message of either side, or lets it fall silent. Short and long lives are
 * equally frequent, so that calls of many messages can succeed, too.
 */
function makeStorm(seed: string): Storm {
  const dice = new Random(seed);
  const random = () => dice.fraction();
  const lives = new Map<number, { left: number; isSilent: boolean }>();
  const storm: Storm = {
    cuts: 0,
    silences: 0,
    shelters: 0,
    rule: ({ connection }) => {
      let life = lives.get(connection);
      if (life === undefined) {
        // Rare, but some in every run: the store needs time to notice each.
        const isSilent = lives.size % 30 === 10;
        const longest = isSilent ? 10 : 625;
        life = { left: Math.floor(8 * longest ** random()), isSilent };
        lives.set(connection, life);
      }
      if (life.left < 0) return "swallow";
      if (life.left > 0 || storm.shelters > 0) {
        if (life.left > 0) life.left--;
        return random() < 0.01 ? { delayMs: 1 + random() * 4 } : "forward";
      }
      if (life.isSilent) {
        life.left = -1;
        storm.silences++;
        return "swallow";
      }
      storm.cuts++;
      return random() < 0.5 ? "cut-before" : "cut-after";
    },
  };
  return storm;
}

/**
 * Operations during which no connection is cut. After a lost answer, the store
 * takes a missing stream as deleted by this very call, and an empty archive as
 * created by it, because no row tells otherwise. The contract's tests of
 * streams that are missing or exist already would fail.
 */
const sheltered = new Set<PropertyKey>([
  "deleteStream",
  "createStreamArchiveStorage",
]);

function withShelter(
  storage: PostgresStreamStorage,
  storm: Storm,
): PostgresStreamStorage {
  return new Proxy(storage, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      if (!sheltered.has(name)) return value.bind(target);
      return (...args: unknown[]) => {
        storm.shelters++;
        const promise: Promise<unknown> = value.apply(target, args);
        return promise.finally(() => storm.shelters--);
      };
    },
  });
}

describe("A store whose connections are cut at random", () => {
  const storm = makeStorm(seed);
  const cleanUp = new AsyncDisposableStack();
  let url: string;
  let proxy: Wire;
  let session: Session;
  let schema: string;
  let emptied: string;
  let storage: PostgresStreamStorage | undefined;

  before(async () => {
    url = await testDatabaseUrl();
    proxy = cleanUp.use(await startProxy(url));
    session = cleanUp.use(await openSession(url));
    const test = cleanUp.use(await openTestStorage({ ...options, url }));
    ({ schema } = test);
    emptied = emptyTables(schema, partitions);
    await test.storage.close();
  });

  after(async () => {
    await storage?.close();
    await cleanUp.disposeAsync();
    assert.ok(storm.cuts > 50, `${storm.cuts} connections were cut`);
    assert.ok(storm.silences > 0, `${storm.silences} fell silent`);
  });

  /** Opens undisturbed: opening and emptying the tables are not tested here. */
  const open = async (): Promise<PostgresStreamStorage> => {
    proxy.setRule(undefined);
    return await openStreamStorage({
      ...options,
      url: proxy.url,
      schema,
      migrate: "check",
    });
  };

  const store = async (): Promise<ContractStore> => {
    const opened = storage ??= await open();
    proxy.setRule(storm.rule);
    return {
      storage: withShelter(opened, storm),
      plant: (streamId, rows) =>
        plant({ url, schema, partitions }, streamId, rows),
      dispose: async () => {
        proxy.setRule(undefined);
        assert.ok(!opened.signal.aborted, "Ownership was lost");
        await session.script(emptied);
        // Many tests end with a closed store.
        await opened.getStreamsNumber().catch(() => (storage = undefined));
      },
    };
  };

  streamStorageContract(store, { name: "PostgreSQL" });
});
