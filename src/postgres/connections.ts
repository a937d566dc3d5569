/**
 * The connections of a store: the servers they lead to, how many there are of
 * each kind, and the settings of their sessions.
 */

import { Home } from "../database/cluster/home.ts";
import { placesOf } from "../database/shared_places.ts";
import {
  assertDirect,
  connectLastingSession,
} from "../database/lasting_session.ts";
import type { ConnectionTarget } from "../database/connection_target.ts";
import { type Address, CurrentServer } from "../database/current_server.ts";
import { type ConnectOptions, connectSession } from "../database/driver.ts";
import { toStorageError } from "../database/failures.ts";
import { HostSurvey } from "../database/host_survey.ts";
import { Pool, type PoolGuard } from "../database/pool.ts";
import { PreparedBudget } from "../database/prepared_budget.ts";
import { searchPath } from "../database/search_path.ts";
import {
  applySettings,
  keptSettings,
  languageSettings,
  laterSettings,
} from "../database/role_settings.ts";
import {
  answerGraceMs,
  type Session,
  type SessionOptions,
} from "../database/session.ts";
import { roundsOf } from "../database/session_attrs.ts";
import type { SessionSettings } from "../database/transaction_settings.ts";
import { loadOpenTelemetry } from "../telemetry/open_telemetry.ts";
import { StoreTelemetry } from "../telemetry/store_telemetry.ts";
import { maxPoolWaiting, maxPreparedBytes, maxSlots } from "./limits.ts";
import type { ReadingOptions, ResolvedOptions } from "./resolved_options.ts";

/** The servers of a store. */
export class Place {
  readonly server = new CurrentServer();
  /** The sessions' common budget, which goes to those that do the work. */
  readonly budget = new PreparedBudget(maxPreparedBytes);
  readonly survey: HostSurvey;
  /** The server of a cluster on which the schema is. */
  readonly home: Home;
  readonly #options: ReadingOptions;
  readonly #pools: Pool[] = [];
  #leave: (() => void) | undefined;

  constructor(options: ReadingOptions) {
    this.#options = options;
    const { ownershipTarget, schema } = options;
    this.survey = new HostSurvey(
      shortened(ownershipTarget, options),
      this.#behaviour(),
      this.server,
    );
    this.home = new Home({
      schema,
      connect: (address) => this.#connectTo(address),
      ...(options.clusterHosts && { reach: options.clusterHosts }),
    });
    this.home.listen({
      onLost: () => {
        for (const pool of this.#pools) pool.leaveServer();
      },
      onSettled: (address) => {
        this.survey.end();
        this.server.relocate(address);
      },
    });
  }

  /**
   * Reserves the store's own places in a limit that several stores share;
   * `leave` returns them.
   *
   * @throws {StreamStorageError} RESOURCE_EXHAUSTED, BAD_CONFIG; the signal's
   *   reason.
   */
  async enter(): Promise<void> {
    const { connectionLimit, operationTimeoutMs, signal } = this.#options;
    if (connectionLimit === undefined) return;
    const withinMs = operationTimeoutMs;
    this.#leave = await placesOf(connectionLimit)
      .keep(ownPlaces(this.#options), { withinMs, signal });
  }

  /** To be called when the store has no connections, and will make none. */
  leave(): void {
    this.#leave?.();
  }

  /** Opens a session of the caller's own, directly with the server. */
  connectOwner(options: Partial<ConnectOptions> = {}): Promise<Session> {
    return this.home.connect(
      this.#options.ownershipTarget,
      (target) =>
        connectLastingSession(shortened(target, this.#options), {
          ...this.#behaviour(),
          isForLittle: true,
          ...options,
        }),
    );
  }

  /** Opens a session with the cluster's coordinator, which must be known. */
  connectCoordinator(options: Partial<ConnectOptions>): Promise<Session> {
    const target = this.#targetAt(this.home.coordinator!);
    return connectLastingSession(shortened(target, this.#options), {
      ...sessionOptions(this.#options),
      isForLittle: true,
      ...options,
    });
  }

  /** Opens a session with any server of a cluster, for a question. */
  #connectTo(address: Address): Promise<Session> {
    return connectSession(
      shortened(this.#targetAt(address), this.#options),
      {},
      { ...sessionOptions(this.#options), isForLittle: true },
    );
  }

  #targetAt(address: Address): ConnectionTarget {
    const { ownershipTarget } = this.#options;
    return { ...ownershipTarget, hosts: [address], sessionAttrs: "any" };
  }

  /** Adds a pool whose sessions lead here. */
  add(pool: Pool): void {
    this.#pools.push(pool);
  }

  /** Makes another pool give a session up, the most idle pool first. */
  makeRoom(hungry: Pool): Promise<void> | undefined {
    const others = this.#pools.filter((pool) => pool !== hungry);
    others.sort((a, b) => b.state.idle - a.state.idle);
    for (const pool of others) {
      const room = pool.giveWay();
      if (room !== undefined) return room;
    }
    return undefined;
  }

  #behaviour(): ConnectOptions {
    const { server, budget } = this;
    return { ...sessionOptions(this.#options), server, budget };
  }
}

/**
 * Shortens the time for one attempt to connect, so that a call has time for an
 * attempt with every host. A lost attempt must not take the time of those that
 * would succeed.
 */
function shortened(
  target: ConnectionTarget,
  { operationTimeoutMs }: ReadingOptions,
): ConnectionTarget {
  const attempts = target.hosts.length * roundsOf(target.sessionAttrs).length;
  const share = Math.ceil(operationTimeoutMs / attempts);
  const connectTimeoutMs = Math.min(target.connectTimeoutMs, share);
  return { ...target, connectTimeoutMs };
}

/**
 * How the connections are shared. One is the owner's. Reads and writes do not
 * wait for each other. The background has connections that callers never use;
 * only if there are fewer than 5 in all, it borrows a reader's, for a flush at
 * a time.
 */
export function sharesOf(
  maxConnections: number,
): { slots: number; readers: number; background: number } {
  const background = maxConnections < 5
    ? 0
    : Math.max(1, Math.floor(maxConnections / 16));
  const shared = maxConnections - 1 - background;
  const slots = Math.min(maxSlots, Math.ceil(shared / 2));
  return { slots, readers: shared - slots, background };
}

/** One place for the owner, if there is one, and one for each pool. */
function ownPlaces({ isReadOnly, maxConnections }: ReadingOptions): number {
  if (isReadOnly) return 1;
  return sharesOf(maxConnections).background > 0 ? 4 : 3;
}

/**
 * Longer timeouts for the background: no caller waits for it, and it may have
 * to remove a whole large upload.
 */
export function patientOptions(options: ResolvedOptions): ResolvedOptions {
  const operationTimeoutMs = Math.max(options.operationTimeoutMs, 60_000);
  return {
    ...options,
    operationTimeoutMs,
    statementTimeoutMs: operationTimeoutMs,
  };
}

/** A pool of sessions with the servers of `place`. */
export function poolOf(
  options: ReadingOptions,
  { telemetry, place }: { telemetry: StoreTelemetry; place: Place },
  { name, max, depth }: { name: string; max: number; depth: number },
): Pool {
  const settings = {
    ...sessionSettings(options),
    ...(place.home.isDistributed && clusterSettings),
  };
  const isLasting = options.preparedStatements;
  const ofSession = isLasting ? { ...settings, ...keptSettings } : {};
  const behaviour = {
    ...sessionOptions(options),
    server: place.server,
    budget: place.budget,
    traffic: telemetry.traffic(name),
    transactionSettings: isLasting ? undefined : settings,
  };
  const connectTo = async (at: ConnectionTarget) => {
    const target = shortened(at, options);
    const session = await connectSession(target, ofSession, behaviour);
    if (!isLasting) return session;
    // A lasting session of the owner's has been checked for a pooler already.
    if (options.isReadOnly) await assertDirect(session);
    // Applied again, because a pooler may ignore settings sent at the start.
    await applySettings(session, { ...ofSession, ...laterSettings });
    return session;
  };
  const pool: Pool = new Pool({
    connect: () =>
      telemetry.connect(
        name,
        () => place.home.connect(options.target, connectTo),
        toStorageError,
      ),
    max,
    depth,
    maxWaiting: maxPoolWaiting,
    watcher: telemetry.connections(name),
    acquireTimeoutMs: options.operationTimeoutMs,
    reconnect: options.retry,
    makeRoom: () => place.makeRoom(pool),
    idleTimeoutMs: options.idleTimeoutMs || Infinity,
    places: options.connectionLimit && placesOf(options.connectionLimit),
    guard: place.home.isDistributed ? guardOf(place.home) : undefined,
  });
  place.add(pool);
  telemetry.watchPool(name, pool, max);
  return pool;
}

/** Otherwise Citus hides shards in the catalogue, also from the lock search. */
const clusterSettings = { "citus.override_table_visibility": "off" };

function guardOf(home: Home): PoolGuard {
  return {
    before: (use) => home.guard![use === "read" ? "read" : "write"],
    isMoved: (error) => home.isMoved(error),
  };
}

/**
 * The settings of every session.
 *
 * The search path is one of two walls (search_path.ts).
 *
 * Every statement is written for an index. A plan made while a table is still
 * empty would be a sequential scan, and a prepared statement may keep that plan
 * long after the table has grown. Planning each call anew costs more than
 * running it. So plans are made once, generic, and never sequential.
 *
 * Nor do they read by a bitmap, which loses the order of the index. A generic
 * plan expects few blocks between two numbers. So with some statistics, the
 * server would read and sort all blocks up to the end of a stream for each page
 * of it, which takes quadratic time.
 */
export function sessionSettings(options: ReadingOptions): SessionSettings {
  return {
    search_path: searchPath,
    ...languageSettings,
    statement_timeout: String(options.statementTimeoutMs),
    lock_timeout: String(options.lockTimeoutMs),
    default_transaction_isolation: options.isolationLevel,
    ...(options.isReadOnly && { default_transaction_read_only: "on" }),
    plan_cache_mode: "force_generic_plan",
    enable_seqscan: "off",
    enable_bitmapscan: "off",
    jit: "off",
  };
}

/** How every session behaves. */
export function sessionOptions(options: ReadingOptions): SessionOptions {
  return {
    preparedStatements: options.preparedStatements,
    answerTimeoutMs: options.statementTimeoutMs + answerGraceMs,
  };
}

/** The telemetry of a store or a reader, made before it connects. */
export async function telemetryOf(
  options: ReadingOptions,
  { isReader = false } = {},
): Promise<StoreTelemetry> {
  const { schema, logger } = options;
  const { database, hosts } = options.target;
  await loadOpenTelemetry();
  return new StoreTelemetry({
    database,
    schema,
    server: hosts.length === 1 ? hosts[0] : undefined,
    logger,
    isReader,
  });
}
