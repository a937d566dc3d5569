import assert from "node:assert/strict";
import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { testDatabaseUrl } from "./database.ts";
import { assertInvariants } from "./invariants.ts";
import { openSession } from "./migration_connection.ts";
import { type Proxy, type Side, startProxy } from "./network/proxy.ts";
import { openTestStorage } from "./storage.ts";

/** A write, its preparation, and the check of what it stores. */
export interface Case {
  options?: Partial<StreamStorageOptions>;
  /** Makes only one in so many cuts, at random. Default: all. */
  oneIn?: number;
  prepare?(storage: PostgresStreamStorage, id: StreamId): Promise<void>;
  write(storage: PostgresStreamStorage, id: StreamId): Promise<unknown>;
  check(storage: PostgresStreamStorage, id: StreamId): Promise<void>;
}

/** Counts each side's messages while the write runs undisturbed. */
async function countMessages(
  proxy: Proxy,
  run: () => Promise<unknown>,
): Promise<Record<Side, number>> {
  const counts: Record<Side, number> = { frontend: 0, backend: 0 };
  proxy.setRule(({ side }) => {
    counts[side]++;
    return "forward";
  });
  await run();
  proxy.setRule(undefined);
  return counts;
}

/**
 * Runs the write twice for each of its messages, with the connection cut before
 * and after the message. The write must succeed each time, be stored once, and
 * keep the invariants.
 */
export async function assertSurvivesCuts(
  { options, oneIn = 1, prepare, write, check }: Case,
): Promise<void> {
  await using proxy = await startProxy(await testDatabaseUrl());
  await using test = await openTestStorage({
    ...options,
    url: proxy.url,
    // With one connection and one partition, all runs send the same messages.
    maxConnections: 3,
    partitions: 1,
    retry: { minDelayMs: 1, maxDelayMs: 10 },
  });
  const { storage, schema } = test;
  await using session = await openSession(await testDatabaseUrl());
  const fresh = async () => {
    const id = newStreamId();
    await prepare?.(storage, id);
    return id;
  };
  // The first run prepares the statements; the second one is counted.
  await write(storage, await fresh());
  const measured = await fresh();
  const counts = await countMessages(proxy, () => write(storage, measured));
  let cuts = Math.floor(Math.random() * oneIn);
  for (const side of ["frontend", "backend"] as const) {
    for (let nth = 1; nth <= counts[side]; nth++) {
      for (const when of ["before", "after"] as const) {
        if (cuts++ % oneIn !== 0) continue;
        const id = await fresh();
        const wasCut = proxy.cutAt({ side, nth, when });
        await write(storage, id);
        await wasCut;
        proxy.setRule(undefined);
        await check(storage, id);
      }
    }
  }
  assert.ok(cuts >= 2 * (counts.frontend + counts.backend));
  await proxy.settled();
  await assertInvariants(session, { schema, partitions: storage.partitions });
}

/** The events in a stream's minipool, as text. */
export async function eventsOf(
  storage: PostgresStreamStorage,
  id: StreamId,
): Promise<string[]> {
  const { minipoolEnvelopes } = await storage.readStreamFromLastSnapshot(id, 0);
  return minipoolEnvelopes.map((envelope) =>
    new TextDecoder().decode(envelope)
  );
}
