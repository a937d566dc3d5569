import { quoteIdentifier } from "../../src/database/migrations/sql_text.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import type { LogEvent } from "../../src/telemetry/log_events.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import type { PlantedStream } from "../../src/testing/contract/suite.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { assertInvariants } from "./invariants.ts";
import { openSession } from "./migration_connection.ts";
import { plant } from "./plant.ts";
import { openTestStorage } from "./storage.ts";

/** A store whose rows and log a test can see, for tests of the workers. */
export interface MaintenanceStore extends AsyncDisposable {
  /** The open store; `reopen` replaces it. */
  storage: PostgresStreamStorage;
  test: TestStreamStorage;
  /** The events that were logged. */
  events: LogEvent[];
  /** Resolves with the first event that fits, past or future. */
  logged(fits: (event: LogEvent) => boolean): Promise<LogEvent>;
  /** Resolves with the event of a worker's first run, past or future. */
  ran(worker: string): Promise<LogEvent>;
  /** Runs SQL in which `@` stands for the schema. */
  sql(text: string): Promise<(string | null)[][]>;
  plant(streamId: StreamId, rows: PlantedStream): Promise<void>;
  assertInvariants(): Promise<void>;
  /** Opens another store on the schema; does not close the open one. */
  reopen(options?: Partial<StreamStorageOptions>): Promise<void>;
}

/** Collects events, and lets tests wait for one. */
class Log {
  readonly events: LogEvent[] = [];
  readonly #listeners = new Set<(event: LogEvent) => void>();

  readonly logger = (event: LogEvent): void => {
    this.events.push(event);
    for (const listener of this.#listeners) listener(event);
  };

  logged(fits: (event: LogEvent) => boolean): Promise<LogEvent> {
    const past = this.events.find(fits);
    if (past !== undefined) return Promise.resolve(past);
    const { promise, resolve, reject } = Promise.withResolvers<LogEvent>();
    this.#listeners.add((event) => fits(event) && resolve(event));
    // A test that waits in vain must fail instead of hanging.
    const timer = setTimeout(
      () => reject(new Error("Expected an event that fits")),
      45_000,
    );
    return promise.finally(() => clearTimeout(timer));
  }
}

/** Opens a store without workers, unless the options want some. */
export async function openMaintenanceStore(
  options: Partial<StreamStorageOptions> = {},
): Promise<MaintenanceStore> {
  const log = new Log();
  const { events, logger } = log;
  const test = await openTestStorage({ ...options, logger });
  const { url, schema } = test;
  const ground = { url, schema, partitions: test.storage.partitions };
  const opened: PostgresStreamStorage[] = [];
  const store: MaintenanceStore = {
    storage: test.storage,
    test,
    events,
    logged: (fits) => log.logged(fits),
    ran: (worker) =>
      store.logged(({ code, details }) =>
        code === "worker_ran" && details?.["worker"] === worker
      ),
    sql: async (text) => {
      await using session = await openSession(url);
      return await session.script(
        text.replaceAll("@", quoteIdentifier(schema)),
      );
    },
    plant: (streamId, rows) => plant(ground, streamId, rows),
    assertInvariants: async () => {
      await using session = await openSession(url);
      await assertInvariants(session, ground);
    },
    reopen: async (changed = {}) => {
      store.storage = await openStreamStorage({
        url,
        schema,
        partitions: ground.partitions,
        startupDelayMs: 0,
        maxConnections: 5,
        workerConcurrency: 0,
        ...options,
        ...changed,
        logger,
      });
      opened.push(store.storage);
    },
    [Symbol.asyncDispose]: async () => {
      for (const storage of opened) await storage.close();
      await test[Symbol.asyncDispose]();
    },
  };
  return store;
}

/** The number of a stream's first block. */
export async function firstOf(
  { storage }: { storage: PostgresStreamStorage },
  id: StreamId,
): Promise<bigint> {
  const [range] = await storage.getMiniblockNumberRanges(id);
  return range!.startInclusive;
}
