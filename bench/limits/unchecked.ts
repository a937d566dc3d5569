/**
 * The same rows through the store's own driver, with nothing checked: no
 * ownership, no lock, no look at what is there, each row a bare INSERT. What
 * waits together shares a transaction as in the store, but not by its queue,
 * whose cost is one of those to be told apart. So this is what Deno or Bun can do
 * here with this driver, whatever the store's rules cost.
 */

import { setImmediate } from "node:timers";
import { parseConnectionUrl } from "../../src/database/connection_target.ts";
import { connectSession } from "../../src/database/driver.ts";
import type { Session } from "../../src/database/session.ts";
import { bind, type Bound, statement } from "../../src/database/statement.ts";
import type { StreamTables } from "../../src/postgres/catalog.ts";
import { deleteCandidatesBelow } from "../../src/postgres/sql/candidates.ts";
import { insertMiniblock } from "../../src/postgres/sql/miniblocks.ts";
import {
  appendEvent,
  copyMinipool,
  deleteMinipool,
  insertMarker,
  newMinipoolRows,
} from "../../src/postgres/sql/minipools.ts";
import type {
  MiniblockDescriptor,
  NewMinipool,
} from "../../src/storage/model.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import type { Site } from "../site.ts";
import type { WriteSubject } from "../workload.ts";

/** The name of this contender in the table. */
export const uncheckedName = "bare INSERTs (same driver)";

/** As in the store's queue: fewer than these wait for the load under way. */
const minDivided = 32;
const maxLoad = 256;
const connections = 2;

interface Waiting {
  bound: Bound[];
  resolve(): void;
  reject(error: unknown): void;
}

/** Does the store's writes without its rules. */
export class Unchecked implements WriteSubject, AsyncDisposable {
  readonly #site: Site;
  readonly #sessions: Promise<Session[]>;
  readonly #idle: Session[] = [];
  #waiting: Waiting[] = [];
  #pumping = false;

  constructor(site: Site) {
    this.#site = site;
    this.#sessions = Promise.all(
      Array.from({ length: connections }, () => connect(site.url)),
    );
    this.#sessions.then((sessions) => {
      this.#idle.push(...sessions);
      this.#pump();
    }, () => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const session of await this.#sessions) await session.close();
  }

  writeEvent(
    id: StreamId,
    generation: bigint,
    slot: number,
    envelope: Uint8Array,
  ): Promise<void> {
    const append = this.#site.catalog.of(id, appendEvent);
    return this.#write([bind(append, id, generation, BigInt(slot), envelope)]);
  }

  createStreamStorage(
    id: StreamId,
    { data, snapshot }: MiniblockDescriptor,
  ): Promise<void> {
    const { catalog } = this.#site;
    return this.#write([
      bind(catalog.at("", insertStreamRow), id),
      bind(catalog.of(id, insertMiniblock), id, 0n, data, snapshot ?? null),
      bind(catalog.of(id, insertMarker), id, 1n),
    ]);
  }

  writeMiniblocks(
    id: StreamId,
    miniblocks: MiniblockDescriptor[],
    { generation, envelopes }: NewMinipool,
  ): Promise<void> {
    const { catalog } = this.#site;
    const copy = catalog.of(id, copyMinipool);
    return this.#write([
      bind(catalog.of(id, deleteMinipool), id),
      newMinipoolRows(copy, id, generation, envelopes),
      ...miniblocks.map(({ number, data, snapshot }) =>
        bind(
          catalog.of(id, insertMiniblock),
          id,
          number,
          data,
          snapshot ?? null,
        )
      ),
      bind(catalog.of(id, deleteCandidatesBelow), id, generation),
    ]);
  }

  #write(bound: Bound[]): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ bound, resolve, reject });
    if (!this.#pumping) {
      this.#pumping = true;
      queueMicrotask(() => {
        this.#pumping = false;
        this.#pump();
      });
    }
    return promise;
  }

  #pump(): void {
    while (this.#waiting.length > 0 && this.#idle.length > 0) {
      const isBusy = this.#idle.length < connections;
      if (isBusy && this.#waiting.length < minDivided) return;
      const share = Math.ceil(this.#waiting.length / this.#idle.length);
      const size = Math.min(maxLoad, Math.max(minDivided, share));
      void this.#run(this.#idle.pop()!, this.#waiting.splice(0, size));
    }
  }

  async #run(session: Session, load: readonly Waiting[]): Promise<void> {
    try {
      await session.run(load.flatMap(({ bound }) => bound));
      for (const { resolve } of load) resolve();
    } catch (error) {
      for (const { reject } of load) reject(error);
    }
    this.#idle.push(session);
    // Whoever was answered may ask for more first.
    setImmediate(() => this.#pump());
  }
}

function connect(url: string): Promise<Session> {
  return connectSession(
    parseConnectionUrl(url),
    { plan_cache_mode: "force_generic_plan", enable_seqscan: "off" },
    { preparedStatements: true, maxPrepared: 2048, answerTimeoutMs: 60_000 },
  );
}

const insertStreamRow = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.streams}
        (stream_id, latest_snapshot_miniblock, migrated)
      VALUES ($1, 0, true)`,
    params: ["bpchar"],
  });
