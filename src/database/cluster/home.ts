/**
 * Where the schema of a store, or of a reader, lives.
 *
 * On a plain server that is no question, and nothing here costs anything. On a
 * Citus cluster a distributed schema lives whole on one server, its *home*, and
 * may be moved to another one while it is used. We work at its home, by the names
 * that the tables have there.
 *
 *     plain ── found to be distributed, at opening ──▶ at home ◀──┐
 *                                                        │        │ another server says
 *                      refused by the guard, table gone  │        │ "it is here"
 *                                                        ▼        │
 *                                                       lost ─────┘
 *
 * - at home: every flush of a pool begins with the guard (guard.ts).
 * - lost: from the first refusal on. A new *era* begins: sessions of the last one
 *   get no more work, and what was believed of the tables is dropped, because
 *   numbers of transactions and places of rows are another server's. Whoever
 *   wants a session asks where the schema is, one for all: the last home first,
 *   then the other servers, and goes where they point until a server says that
 *   the schema is its own. While a move commits, the servers may disagree for a
 *   moment. If none answers, connecting has failed, as it would to a server that
 *   is away, and the next one asks again.
 * - A home that can't be reached may be another by now. So another server is asked
 *   beside the next attempt; as a rule it names the same one.
 *
 * What was refused by the guard was not done, and is sent again: callers see a
 * pause, not an error. A late refusal of an earlier era says nothing new.
 *
 * The lock and the listener stay behind. The lock session of an owner ends with
 * the era, and it is restored at the new home as after any other loss
 * (ownership.ts); meanwhile writes are safe by the fence, whose row has moved, too.
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
  /** Where we reach a server that the others know by this address. */
  reach?: Reach;
}

/** The schema was found at another server, or lives in another way than before. */
export class HomeChangedError extends Error {
  override readonly name = "HomeChangedError";
}

/** A change of the home. */
export interface HomeChange {
  from: Address;
  to: Address;
  /** Milliseconds since it was lost. */
  lostMs: number;
}

/** Whom the change of a home concerns. */
export interface HomeListener {
  /** It is lost: sessions with it are of no more use. */
  onLost?(): void;
  /** It is there, as we reach it: for the first time, or again. */
  onSettled?(address: Address): void;
  /** It was moved there, after it was lost. */
  onMoved?(change: HomeChange): void;
}

/** The table by which the schema is found; its row is the owner's. */
const keyTable = "singlenodekey";

/** So often the servers are asked while they disagree. */
const maxRounds = 50;
const roundMs = 20;

/** So many servers are asked about a home that can't be reached. */
const maxAsked = 3;

/** See the file's head. */
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

  /** The schema is distributed. */
  get isDistributed(): boolean {
    return this.#known !== undefined;
  }

  /** Where the schema is, as we reach it; undefined on a plain server. */
  get address(): Address | undefined {
    return this.#known && this.#reached(this.#known.address);
  }

  /** Counts the homes that were lost. */
  get era(): number {
    return this.#era;
  }

  /** What a flush begins with; undefined on a plain server. */
  get guard(): Guard | undefined {
    return this.#guard;
  }

  /** The channels on which new rows of owners are announced. */
  get channels(): readonly string[] {
    const shard = this.#known?.shards.get(keyTable);
    // The trigger notifies by the name of its table, which is the shard's, unless
    // the name is written in it.
    return shard === undefined
      ? [keyTable]
      : [keyTable, `${keyTable}_${shard}`];
  }

  /** The server that takes changes of schemas, as we reach it. */
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

  /** Tells of changes from now on. */
  listen(listener: HomeListener): void {
    this.#listeners.push(listener);
  }

  /**
   * Asks a server of a cluster, at opening. False if the schema is not here, or
   * lives in another way than was known: then all that was made for it has to be
   * made anew.
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
   * Makes a session at the schema's home, if need be after asking where it is.
   *
   * @throws what `make` throws; {ConnectionLostError}: no server tells where.
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
    // Of an old copy, or never there.
    const era = this.#era;
    const report = await this.#askAt(this.#known.address).catch(() =>
      undefined
    );
    if (report?.isHere === false) this.lose(era);
    return era !== this.#era;
  }

  /** It is not where it was in this era; by default in the present one. */
  lose(era = this.#era): void {
    if (this.#known === undefined || era !== this.#era) return;
    this.#lostAt ??= performance.now();
    this.#era++;
    for (const { onLost } of this.#listeners) onLost?.();
  }

  /**
   * Finds out where the schema is, once for all who ask.
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
      // The one that was named is asked at once.
      if (isAt(report.address, asked) || round % 2 === 0) await delay(roundMs);
      asked = report.address;
    }
  }

  /** The home can't be reached. Never rejects. */
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

  /** This server, or the first of the others that answers. */
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
      `No server of the cluster tells where the schema is: ${
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
      message: `Schema ${quoted(schema)} is not distributed as it was: ` +
        "open it anew",
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

/** The same server, and the same tables. */
function isSame(report: ReportedHome, known: ReportedHome): boolean {
  if (!isAt(report.address, known.address)) return false;
  if (report.shards.size !== known.shards.size) return false;
  for (const [name, shard] of report.shards) {
    if (known.shards.get(name) !== shard) return false;
  }
  return true;
}
