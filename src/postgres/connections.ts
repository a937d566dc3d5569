/**
 * The connections of a store: which servers they lead to, how many there are of
 * each kind, and what every session is set to.
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
import { maxPoolWaiting, maxSlots } from "./limits.ts";
import type { ReadingOptions, ResolvedOptions } from "./resolved_options.ts";

/** The servers of a store. */
export class Place {
  readonly server = new CurrentServer();
  readonly survey: HostSurvey;
  /** On which of a cluster's servers the schema is. */
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
   * Gets what is the store's own of a limit that it shares; `leave` gives it back.
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

  /** No connection leads here any more, nor will one. */
  leave(): void {
    this.#leave?.();
  }

  /** A session of one's own, directly to the server. */
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

  /** A session of one's own with the coordinator of a cluster, which is known. */
  connectCoordinator(options: Partial<ConnectOptions>): Promise<Session> {
    const target = this.#targetAt(this.home.coordinator!);
    return connectLastingSession(shortened(target, this.#options), {
      ...sessionOptions(this.#options),
      isForLittle: true,
      ...options,
    });
  }

  /** A session with any server of a cluster, to ask it something. */
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

  /** A pool whose sessions lead here. */
  add(pool: Pool): void {
    this.#pools.push(pool);
  }

  /** Has that one of the other pools give way which needs its sessions least. */
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
    return { ...sessionOptions(this.#options), server: this.server };
  }
}

/**
 * Attempts that got lost must not be waited for when others would succeed, and a
 * call should live to see the last of the hosts.
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
 * How the connections are shared. Reads and writes do not wait for each other,
 * and the background has connections that callers never wait for; only when
 * there are fewer than 5 in all it borrows a reader, for a flush at a time. One
 * is the owner's.
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

/** One for the owner, if there is one, and one for each pool. */
function ownPlaces({ isReadOnly, maxConnections }: ReadingOptions): number {
  if (isReadOnly) return 1;
  return sharesOf(maxConnections).background > 0 ? 4 : 3;
}

/** Nobody waits for the background, and a whole large upload may have to go. */
export function patientOptions(options: ResolvedOptions): ResolvedOptions {
  const operationTimeoutMs = Math.max(options.operationTimeoutMs, 60_000);
  return {
    ...options,
    operationTimeoutMs,
    statementTimeoutMs: operationTimeoutMs,
  };
}

/** A pool of sessions to where the store is. */
export function poolOf(
  options: ReadingOptions,
  { telemetry, place }: { telemetry: StoreTelemetry; place: Place },
  { name, max, depth }: { name: string; max: number; depth: number },
): Pool {
  const { retry, operationTimeoutMs } = options;
  const settings = {
    ...sessionSettings(options),
    ...(place.home.isDistributed && clusterSettings),
  };
  const isLasting = options.preparedStatements;
  const ofSession = isLasting ? { ...settings, ...keptSettings } : {};
  const behaviour = {
    ...sessionOptions(options),
    server: place.server,
    traffic: telemetry.traffic(name),
    transactionSettings: isLasting ? undefined : settings,
  };
  const pool: Pool = new Pool({
    connect: () =>
      telemetry.connect(
        name,
        () =>
          place.home.connect(options.target, async (at) => {
            const target = shortened(at, options);
            const session = await connectSession(target, ofSession, behaviour);
            if (!isLasting) return session;
            // Of an owner that was found out on its lasting session.
            if (options.isReadOnly) await assertDirect(session);
            // Once more, because a pooler may ignore what is asked for at the start.
            await applySettings(session, { ...ofSession, ...laterSettings });
            return session;
          }),
        toStorageError,
      ),
    max,
    depth,
    maxWaiting: maxPoolWaiting,
    watcher: telemetry.connections(name),
    acquireTimeoutMs: operationTimeoutMs,
    reconnect: { minDelayMs: retry.minDelayMs, maxDelayMs: retry.maxDelayMs },
    makeRoom: () => place.makeRoom(pool),
    idleTimeoutMs: options.idleTimeoutMs || Infinity,
    places: options.connectionLimit && placesOf(options.connectionLimit),
    guard: place.home.isDistributed ? guardOf(place.home) : undefined,
  });
  place.add(pool);
  telemetry.watchPool(name, pool, max);
  return pool;
}

/** Otherwise Citus hides shards in the catalogue, and who looks for locks finds none. */
const clusterSettings = { "citus.override_table_visibility": "off" };

function guardOf(home: Home): PoolGuard {
  return {
    before: (use) => home.guard![use === "read" ? "read" : "write"],
    isMoved: (error) => home.isMoved(error),
  };
}

/**
 * What every session is set to.
 *
 * The path is one of two walls (search_path.ts).
 *
 * Every statement is written for an index. A plan made while a table was still
 * empty would be a sequential scan, and a prepared statement may keep it long
 * after the table has grown; planning each call anew costs more than running it.
 * So plans are made once, generic, and never sequential.
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
    jit: "off",
  };
}

/** How every session behaves. */
export function sessionOptions(options: ReadingOptions): SessionOptions {
  return {
    preparedStatements: options.preparedStatements,
    maxPrepared: 2048,
    answerTimeoutMs: options.statementTimeoutMs + answerGraceMs,
  };
}

/** What tells of a store or a reader, from before it is connected. */
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
