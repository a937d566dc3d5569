/**
 * Stores the same rows through the store's own driver, with nothing checked: no
 * ownership, no lock, no read of stored rows; each row is a bare INSERT. Writes
 * that wait at the same time share a transaction, as in the store. This class
 * does not use the store's queue, because the queue's cost is one of the costs
 * that the benchmark separates. The result is the most that Deno or Bun can do
 * on this machine with this driver.
 *
 * A second variant begins each transaction with the fence and the streams'
 * locks, which the nodes' protocol requires for every write. It reads no stored
 * rows either.
 */

import { setImmediate } from "node:timers";
import { parseConnectionUrl } from "../../src/database/connection_target.ts";
import { connectSession } from "../../src/database/driver.ts";
import { fenceStatement, ownerParams } from "../../src/database/fence.ts";
import type { Session } from "../../src/database/session.ts";
import { bind, type Bound, statement } from "../../src/database/statement.ts";
import type { StreamTables } from "../../src/postgres/catalog.ts";
import {
  insertMiniblock,
  swapUnchecked,
} from "../../src/postgres/sql/miniblocks.ts";
import { appendEvent, insertMarker } from "../../src/postgres/sql/minipools.ts";
import { lockStreams } from "../../src/postgres/sql/stream_locks.ts";
import type {
  MiniblockDescriptor,
  NewMinipool,
} from "../../src/storage/model.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import type { Setup } from "../setup.ts";
import type { MeasuredWrites } from "../workload.ts";
import { searchPath } from "../../src/database/search_path.ts";

/** The names of these variants in the table. */
export const uncheckedName = "bare INSERTs (same driver)";
export const lockedName = "the same behind fence and locks";

/**
 * As in the store's queue, fewer writes than these wait for the batch in
 * flight.
 */
const minBatch = 32;
const maxBatch = 256;
const connections = 2;

interface Waiting {
  id: StreamId;
  bound: Bound[];
  resolve(): void;
  reject(error: unknown): void;
}

/**
 * Makes the store's writes without its checks, or with fence and locks only.
 */
export class Unchecked implements MeasuredWrites, AsyncDisposable {
  readonly #setup: Setup;
  readonly #sessions: readonly Session[];
  readonly #fence: Bound | undefined;
  readonly #idle: Session[];
  #waiting: Waiting[] = [];
  #isDispatching = false;

  /**
   * If there is a fence, each batch begins with it and with the streams' locks.
   */
  private constructor(
    setup: Setup,
    sessions: readonly Session[],
    fence: Bound | undefined,
  ) {
    this.#setup = setup;
    this.#sessions = sessions;
    this.#idle = [...sessions];
    this.#fence = fence;
  }

  /** Connects. With `locks`, each batch begins with the fence and the locks. */
  static async open(
    setup: Setup,
    { locks }: { locks: boolean },
  ): Promise<Unchecked> {
    const sessions = await Promise.all(
      Array.from({ length: connections }, () => connect(setup.url)),
    );
    const { owner: table } = setup.catalog.tablesAt("");
    const [{ rows: [owner] }] = await sessions[0]!.run([
      bind(setup.catalog.at("", selectOwner)),
    ]);
    const bound = locks ? bind(fenceStatement(table), ...owner!) : undefined;
    return new Unchecked(setup, sessions, bound);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const session of this.#sessions) await session.close();
  }

  writeEvent(
    id: StreamId,
    generation: bigint,
    slot: number,
    envelope: Uint8Array,
  ): Promise<void> {
    const append = this.#setup.catalog.of(id, appendEvent);
    return this.#write(id, [
      bind(append, id, generation, BigInt(slot), envelope),
    ]);
  }

  createStreamStorage(
    id: StreamId,
    { data, snapshot }: MiniblockDescriptor,
  ): Promise<void> {
    const { catalog } = this.#setup;
    return this.#write(id, [
      bind(catalog.at("", insertStreamRow), id),
      bind(catalog.of(id, insertMiniblock), id, 0n, data, snapshot ?? null),
      bind(catalog.of(id, insertMarker), id, 1n),
    ]);
  }

  /** Takes one block without a snapshot, and swaps it in as the store does. */
  writeMiniblocks(
    id: StreamId,
    [block]: MiniblockDescriptor[],
    { envelopes }: NewMinipool,
  ): Promise<void> {
    const swap = this.#setup.catalog.of(id, swapUnchecked);
    const { number, data } = block!;
    return this.#write(id, [
      bind(swap, id, number, data, [null, ...envelopes]),
    ]);
  }

  #write(id: StreamId, bound: Bound[]): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ id, bound, resolve, reject });
    if (!this.#isDispatching) {
      this.#isDispatching = true;
      queueMicrotask(() => {
        this.#isDispatching = false;
        this.#dispatch();
      });
    }
    return promise;
  }

  #dispatch(): void {
    while (this.#waiting.length > 0 && this.#idle.length > 0) {
      const isBusy = this.#idle.length < connections;
      if (isBusy && this.#waiting.length < minBatch) return;
      const share = Math.ceil(this.#waiting.length / this.#idle.length);
      const size = Math.min(maxBatch, Math.max(minBatch, share));
      void this.#run(this.#idle.pop()!, this.#waiting.splice(0, size));
    }
  }

  #checksOf(batch: readonly Waiting[]): Bound[] {
    if (this.#fence === undefined) return [];
    const lock = this.#setup.catalog.at("", lockStreams);
    return [this.#fence, bind(lock, batch.map(({ id }) => id))];
  }

  async #run(session: Session, batch: readonly Waiting[]): Promise<void> {
    try {
      const rows = batch.flatMap(({ bound }) => bound);
      await session.run([...this.#checksOf(batch), ...rows]);
      for (const { resolve } of batch) resolve();
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
    this.#idle.push(session);
    // Callers whose writes have just settled can submit their next ones first.
    setImmediate(() => this.#dispatch());
  }
}

function connect(url: string): Promise<Session> {
  return connectSession(
    parseConnectionUrl(url),
    {
      search_path: searchPath,
      plan_cache_mode: "force_generic_plan",
      enable_seqscan: "off",
    },
    { preparedStatements: true, answerTimeoutMs: 60_000 },
  );
}

const insertStreamRow = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.streams}
        (stream_id, latest_snapshot_miniblock, migrated)
      VALUES ($1, 0, true)`,
    params: ["bpchar"],
  });

const selectOwner = (t: StreamTables) =>
  statement({
    text: `SELECT uuid, storage_connection_time FROM ${t.owner}`,
    columns: ownerParams,
  });
