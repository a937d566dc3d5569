/**
 * The parts that reading needs: the names of tables, connections, transactions,
 * object storage, telemetry. A reader has no other parts. A store adds
 * ownership, the queue of writes and the workers (assemble_store.ts).
 *
 * No part in here knows an owner, or remembers anything of streams.
 */

import type { CurrentServer } from "../database/current_server.ts";
import type { Pool } from "../database/pool.ts";
import { ReadTransactions } from "../database/read_transactions.ts";
import { bind } from "../database/statement.ts";
import { TransactionRing } from "../database/transaction_ring.ts";
import type { StoreTelemetry } from "../telemetry/store_telemetry.ts";
import { Catalog, type OwnTables } from "./catalog.ts";
import { type Place, poolOf } from "./connections.ts";
import { maxPoolWaiting, readDepth, readLockTimeoutMs } from "./limits.ts";
import { LockedPartitions } from "./locked_partitions.ts";
import { Media } from "./media.ts";
import type { OpenBucket } from "./open_bucket.ts";
import type { ReadingOptions } from "./resolved_options.ts";
import { Pulse } from "./pulse.ts";
import { selectLockedPartitions } from "./sql/table_locks.ts";

/** The parts that reading needs; see the file's head. */
export interface ReadCore extends AsyncDisposable {
  readonly schema: string;
  readonly catalog: Catalog;
  /** Runs reads; each flush sees one state of the database. */
  readonly transactions: ReadTransactions;
  /** Object storage for media streams, if it is configured. */
  readonly media: Media | undefined;
  readonly telemetry: StoreTelemetry;
  readonly place: Place;
  readonly server: CurrentServer;
  readonly pool: Pool;
  readonly locks: LockedPartitions;
  readonly ring: TransactionRing;
  readonly pulse: Pulse;
  /** Lets calls in progress end, and closes the connections. */
  close(): Promise<void>;
}

/** What a {@linkcode ReadCore} is made of. */
export interface ReadCoreParts {
  place: Place;
  telemetry: StoreTelemetry;
  partitions: number;
  /** Which of our own tables the schema has, as far as is known. */
  own: OwnTables;
  /** Connections at most. */
  connections: number;
  /** Present with the option `mediaStorage`; see load_bucket.ts. */
  openBucket: OpenBucket | undefined;
  /** Where to ask which tables are locked; default: on those connections. */
  lockPool?: Pool;
}

/** Wires the parts together; connects to nothing yet. */
export function makeReadCore(
  options: ReadingOptions,
  parts: ReadCoreParts,
): ReadCore {
  const { place, telemetry, partitions, own, connections, lockPool } = parts;
  const { schema } = options;
  const pool = readPoolOf(options, parts, connections);
  const catalog = new Catalog(
    schema,
    partitions,
    own,
    (name) => place.home.table(name),
  );
  const locks = lockedPartitions(options, catalog, lockPool ?? pool);
  const ring = new TransactionRing();
  const pulse = new Pulse(pool, telemetry.database);
  telemetry.watchServer(place.server);
  const close = () =>
    closeCore({ telemetry, pulse, locks, pool, place }, options);
  return {
    schema,
    catalog,
    transactions: new ReadTransactions({
      readPool: pool,
      retry: options.retry,
      operationTimeoutMs: options.operationTimeoutMs,
      ring,
      canceledSoonerMs: options.statementTimeoutMs,
      readGate: locks.readGate(options.lockWaitMs),
      metrics: telemetry.transactions,
    }),
    media: mediaOf(options, parts),
    telemetry,
    place,
    server: place.server,
    pool,
    locks,
    ring,
    pulse,
    close,
    [Symbol.asyncDispose]: close,
  };
}

function readPoolOf(
  options: ReadingOptions,
  parts: ReadCoreParts,
  max: number,
): Pool {
  const lockTimeoutMs = Math.min(options.lockTimeoutMs, readLockTimeoutMs);
  return poolOf({ ...options, lockTimeoutMs }, parts, {
    name: "read",
    max,
    depth: readDepth,
  });
}

async function closeCore(
  { telemetry, pulse, locks, pool, place }: Pick<
    ReadCore,
    "telemetry" | "pulse" | "locks" | "pool" | "place"
  >,
  { operationTimeoutMs }: ReadingOptions,
): Promise<void> {
  telemetry.leaving();
  pulse.stop();
  locks.close();
  telemetry.closing();
  try {
    await pool.close(2 * operationTimeoutMs);
  } finally {
    telemetry.close();
    place.leave();
  }
}

function lockedPartitions(
  { schema, operationTimeoutMs }: ReadingOptions,
  catalog: Catalog,
  pool: Pool,
): LockedPartitions {
  const question = [bind(selectLockedPartitions, schema)] as const;
  return new LockedPartitions({
    suffixOf: (streamId) => catalog.tablesOf(streamId).suffix,
    find: async () => {
      const deadline = performance.now() + operationTimeoutMs;
      const [{ rows }] = await pool.run(question, "write", undefined, deadline);
      return rows;
    },
    maxWaiting: maxPoolWaiting,
  });
}

function mediaOf(
  { mediaStorage, schema, operationTimeoutMs }: ReadingOptions,
  { telemetry, openBucket }: ReadCoreParts,
): Media | undefined {
  return mediaStorage && openBucket && new Media({
    objects: openBucket(mediaStorage, telemetry.objectStorage()),
    schema,
    migrateExisting: mediaStorage.migrateExisting,
    readTimeoutMs: operationTimeoutMs,
    onMoved: telemetry.mediaMoved(),
  });
}
