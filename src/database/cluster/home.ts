/**
 * Where the schema of a store, or of a reader, lives.
 *
 * A plain server is always the home, and nothing here costs anything. On a
 * Citus cluster, a distributed schema lives on one server as a whole, its
 * *home*, and may be moved to another while it is used. The store works at the
 * home, with the names that the tables have there.
 *
 *     plain ── found to be distributed, at opening ──▶ at home ◀──┐
 *                                                        │        │ another server says
 *                      refused by the guard, table gone  │        │ "it is here"
 *                                                        ▼        │
 *                                                       lost ─────┘
 *
 * - at home: every flush of a pool begins with the guard (guard.ts).
 * - lost: from the first refusal on. A new *era* begins: sessions of the last
 *   one get no more work, and all cached knowledge of the tables is dropped,
 *   because numbers of transactions and positions of rows are another server's.
 *   Before the next session is made, one search for all callers asks where the
 *   schema is: first the last home, then the other servers. It follows their
 *   answers until a server says that it has the schema itself. While a move
 *   commits, the servers may disagree for a moment. If none answers, connecting
 *   fails, as it does to a server that is away, and the next call asks again.
 * - A home that can't be reached may have changed. So another server is asked
 *   during the next attempt; usually it names the same home.
 *
 * Work that the guard refused was not done, and is sent again: callers notice a
 * pause, not an error. A late refusal from an earlier era says nothing new.
 *
 * The lock and the listener stay behind. The lock session of an owner ends with
 * the era, and is restored at the new home as after any other loss
 * (ownership.ts). Meanwhile writes are safe by the fence, whose row has moved,
 * too.
 */

import { setTimeout as delay } from "node:timers/promises";
import { StreamStorageError } from "../../storage/errors.ts";
import { messageOf, quoted } from "../../storage/foreign_text.ts";
import type { ConnectionTarget } from "../connection_target.ts";
import type { Address } from "../current_server.ts";
import { quoteIdentifier } from "../migrations/sql_text.ts";
import { ConnectionLostError } from "../pg_error.ts";
import type { Session } from "../session.ts";
import type { Reach } from "./cluster_hosts.ts";
import {
  askHome,
  askNodes,
  type ClusterNode,
  type ReportedHome,
} from "./find_home.ts";
import { type Guard, guardOf, isMissing, refusedEra } from "./guard.ts";

/** What a {@linkcode Home} is made of. */
export interface HomeOptions {
  schema: string;
  /** Connects to a server of the cluster, to ask it. */
  connect(address: Address): Promise<Session>;
  /** Returns where we reach a server that the others know by this address. */
  reach?: Reach;
}

/** The schema is on another server, or lives in another way than before. */
export class HomeChangedError extends Error {
  override readonly name = "HomeChangedError";
}

/** A change of the home. */
export interface HomeChange {
  from: Address;
  to: Address;
  /** Milliseconds since the home was lost. */
  lostMs: number;
}

/** Callbacks for changes of the home. */
export interface HomeListener {
  /** Called when the home is lost: its sessions are useless. */
  onLost?(): void;
  /** Called with our address of the home: at first, and after a loss. */
  onSettled?(address: Address): void;
  /** Called when the schema was found at a new home after a loss. */
  onMoved?(change: HomeChange): void;
}

/** The table by which the schema is found; the owner's row is in it. */
const keyTable = "singlenodekey";

/** How often the servers are asked while they disagree. */
const maxRounds = 50;
const roundMs = 20;

/** How many servers are asked about a home that can't be reached. */
const maxAsked = 3;

/** See the head of this file. */
export class Home {
  readonly #options: HomeOptions;
  readonly #listeners: HomeListener[] = [];
  #known: ReportedHome | undefined;
  #nodes: readonly ClusterNode[] = [];
  #guard: Guard | undefined;
  #era = 0;
  #lostAt: number | undefined;
  #finding: Promise<void> | undefined;
  #looking: Promise<void> | undefined;

  constructor(options: HomeOptions) {
    this.#options = options;
  }

  /** Whether the schema is distributed. */
  get isDistributed(): boolean {
    return this.#known !== undefined;
  }

  /** Where we reach the home; undefined on a plain server. */
  get address(): Address | undefined {
    return this.#known && this.#reached(this.#known.address);
  }

  /** The number of homes that were lost. */
  get era(): number {
    return this.#era;
  }

  /** The beginning of each flush; undefined on a plain server. */
  get guard(): Guard | undefined {
    return this.#guard;
  }

  /** The channels on which new rows of owners are announced. */
  get channels(): readonly string[] {
    const shard = this.#known?.shards.get(keyTable);
    // The trigger notifies by the name of its table, which is the shard's,
    // unless its text has the name.
    return shard === undefined
      ? [keyTable]
      : [keyTable, `${keyTable}_${shard}`];
  }

  /** Where we reach the server that accepts changes of schemas. */
  get coordinator(): Address | undefined {
    const node = this.#nodes.find(({ isCoordinator }) => isCoordinator);
    return node && this.#reached(node);
  }

  /** The quoted, qualified name of a table at its home. */
  table(name: string): string {
    const shard = this.#known?.shards.get(name);
    const own = shard === undefined ? name : `${name}_${shard}`;
    return `${quoteIdentifier(this.#options.schema)}.${quoteIdentifier(own)}`;
  }

  /** Adds a listener for changes from now on. */
  listen(listener: HomeListener): void {
    this.#listeners.push(listener);
  }

  /**
   * Asks a server of a cluster, at opening. False if the schema is not here, or
   * lives in another way than was known: then everything that was made for it
   * must be made again.
   */
  async isKnownAt(session: Session): Promise<boolean> {
    const { schema } = this.#options;
    const report = await askHome(session, schema);
    const known = this.#known;
    if (report === undefined && known === undefined) {
      this.#nodes = await askNodes(session);
      return true;
    }
    if (report !== undefined && known !== undefined && report.isHere) {
      if (isSame(report, known)) return true;
    }
    this.#nodes = await askNodes(session);
    this.#settle(report);
    return false;
  }

  /**
   * Makes a session at the schema's home; finds the home first if it was lost.
   *
   * @throws what `make` throws; {ConnectionLostError}: no server knows the
   *   home.
   */
  async connect<S extends Session>(
    target: ConnectionTarget,
    make: (target: ConnectionTarget) => Promise<S>,
  ): Promise<S> {
    for (;;) {
      if (this.#lostAt !== undefined) await this.find();
      const era = this.#era;
      let session: S;
      try {
        session = await make(this.#targetOf(target));
      } catch (error) {
        if (this.#known !== undefined) void this.#lookElsewhere(era);
        throw error;
      }
      if (era === this.#era) return session;
      session.destroy("The schema has moved meanwhile");
    }
  }

  /**
   * Whether the error says that the schema is not where the work went: then
   * nothing of it was done, and it may be sent again.
   */
  async isMoved(error: unknown): Promise<boolean> {
    if (this.#known === undefined) return false;
    const refused = refusedEra(error);
    if (refused !== undefined) {
      this.lose(refused);
      return true;
    }
    if (!isMissing(error)) return false;
    // A table of an old copy, or one that never existed.
    const era = this.#era;
    const report = await this.#askAt(this.#known.address).catch(() =>
      undefined
    );
    if (report?.isHere === false) this.lose(era);
    return era !== this.#era;
  }

  /** Called when the schema has left its home of this or an earlier era. */
  lose(era = this.#era): void {
    if (this.#known === undefined || era !== this.#era) return;
    this.#lostAt ??= performance.now();
    this.#era++;
    for (const { onLost } of this.#listeners) onLost?.();
  }

  /**
   * Finds the home, once for all callers.
   *
   * @throws {ConnectionLostError} with `sent` false.
   */
  find(): Promise<void> {
    this.#finding ??= this.#find().finally(() => this.#finding = undefined);
    return this.#finding;
  }

  async #find(): Promise<void> {
    const from = this.#known!;
    let asked = from.address;
    for (let round = 1;; round++) {
      const report = await this.#ask(asked);
      if (report.isHere) return this.#found(from, report);
      if (round === maxRounds) {
        throw new ConnectionLostError(
          "Expected a server that says the schema is its own",
          false,
        );
      }
      // The named server is asked at once.
      if (isAt(report.address, asked) || round % 2 === 0) await delay(roundMs);
      asked = report.address;
    }
  }

  /** Asks other servers about a home that can't be reached. Never rejects. */
  #lookElsewhere(era: number): Promise<void> {
    this.#looking ??= this.#look(era).finally(() => this.#looking = undefined);
    return this.#looking;
  }

  async #look(era: number): Promise<void> {
    const { address } = this.#known!;
    const others = this.#nodes.filter((node) => !isAt(node, address));
    const asked = others.slice(0, maxAsked).map((node) => this.#askAt(node));
    const report = await Promise.any(asked).catch(() => undefined);
    if (report && !isAt(report.address, address)) this.lose(era);
  }

  #found(from: ReportedHome, report: ReportedHome): void {
    const isMoved = !isAt(from.address, report.address);
    const lostMs = performance.now() - this.#lostAt!;
    this.#settle({ ...report, shards: from.shards });
    this.#lostAt = undefined;
    if (!isMoved) return;
    const change = {
      from: this.#reached(from.address),
      to: this.#reached(report.address),
      lostMs,
    };
    for (const { onMoved } of this.#listeners) onMoved?.(change);
  }

  #settle(report: ReportedHome | undefined): void {
    this.#known = report;
    const shard = report?.shards.get(keyTable);
    this.#guard = shard === undefined ? undefined : guardOf(
      `${quoteIdentifier(this.#options.schema)}.stream_storage_workers`,
      shard,
      this.#era,
    );
    const { address } = this;
    if (address === undefined) return;
    for (const { onSettled } of this.#listeners) onSettled?.(address);
  }

  /** Asks this server, or the first of the others that answers. */
  async #ask(address: Address): Promise<ReportedHome> {
    const others = this.#nodes.filter((node) => !isAt(node, address));
    let failure: unknown;
    for (const each of [address, ...others]) {
      try {
        return await this.#askAt(each);
      } catch (error) {
        if (error instanceof StreamStorageError) throw error;
        failure = error;
      }
    }
    throw new ConnectionLostError(
      `No server of the cluster knows where the schema is: ${
        messageOf(failure)
      }`,
      false,
      failure,
    );
  }

  async #askAt(address: Address): Promise<ReportedHome> {
    const { schema, connect } = this.#options;
    await using session = await connect(this.#reached(address));
    const report = await askHome(session, schema, keyTable);
    const shard = report?.shards.get(keyTable);
    if (report !== undefined && shard === this.#known!.shards.get(keyTable)) {
      return report;
    }
    throw new StreamStorageError({
      code: "BAD_CONFIG",
      message: `Schema ${quoted(schema)} is no longer distributed as it was: ` +
        "open it again",
      details: { reason: "schema_redistributed", schema },
    });
  }

  #targetOf(target: ConnectionTarget): ConnectionTarget {
    const { address } = this;
    return address === undefined ? target : { ...target, hosts: [address] };
  }

  #reached(address: Address): Address {
    const { reach = ({ host, port }: Address) => ({ host, port }) } =
      this.#options;
    return reach(address);
  }
}

function isAt(one: Address, other: Address): boolean {
  return one.host === other.host && one.port === other.port;
}

/** Whether the server and the tables are the same. */
function isSame(report: ReportedHome, known: ReportedHome): boolean {
  if (!isAt(report.address, known.address)) return false;
  if (report.shards.size !== known.shards.size) return false;
  for (const [name, shard] of report.shards) {
    if (known.shards.get(name) !== shard) return false;
  }
  return true;
}
