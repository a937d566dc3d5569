import type { Attributes } from "@opentelemetry/api";
import type { StreamStorageError } from "../storage/errors.ts";
import { DatabaseHealth } from "./database_health.ts";
import { EventLog } from "./event_log.ts";
import type { Counter } from "./instruments.ts";
import type { Logger } from "./log_events.ts";
import { attributes, metrics } from "./names.ts";
import { Operations } from "./operations.ts";
import { OwnershipWatch } from "./ownership_watch.ts";
import { type MetricFamily, Registry } from "./registry.ts";
import { TransactionMetrics } from "./transaction_metrics.ts";
import { WorkerRuns } from "./worker_runs.ts";

/** What tells one store from another. */
export interface StoreTelemetryOptions {
  database: string;
  schema: string;
  /** The server, if there is but one. */
  server?: { host: string; port: number } | undefined;
  logger?: Logger | undefined;
}

/** A pool of connections, as it is watched. */
export interface WatchedPool {
  state: { open: number; idle: number; waiting: number };
}

/** A queue of writes, as it is watched. */
export interface WatchedQueue {
  state: { waiting: number; waitingBytes: number; busySlots: number };
}

/** A call on object storage that has ended. */
export interface ObjectStorageCall {
  action: string;
  milliseconds: number;
  /** The reason of its failure. */
  errorType: string | undefined;
}

/** Hears how the waiting for a connection ends. */
export interface PoolWaits {
  acquired(waitedMs: number): void;
  timedOut(): void;
}

/** Bytes between a pool and the server. */
export interface Traffic {
  readonly received: Counter;
  readonly sent: Counter;
}

/** All that one store tells about itself. */
export class StoreTelemetry {
  readonly log: EventLog;
  readonly health: DatabaseHealth;
  readonly operations: Operations;
  readonly ownership: OwnershipWatch;
  readonly transactions: TransactionMetrics;
  readonly workers: WorkerRuns;
  readonly #registry: Registry;
  #hasRoom: () => boolean = () => true;

  constructor({ database, schema, server, logger }: StoreTelemetryOptions) {
    const common: Attributes = {
      [attributes.system]: "postgresql",
      [attributes.namespace]: `${database}|${schema}`,
      ...(server === undefined ? {} : {
        [attributes.serverAddress]: server.host,
        [attributes.serverPort]: server.port,
      }),
    };
    const registry = new Registry(common);
    this.#registry = registry;
    this.log = new EventLog(logger);
    const health = new DatabaseHealth(this.log, () => this.#hasRoom());
    this.health = health;
    this.operations = new Operations({ registry, health, common, schema });
    this.ownership = new OwnershipWatch(registry, this.log);
    this.transactions = new TransactionMetrics(registry, health);
    this.workers = new WorkerRuns(registry, this.log);
    registry.gauge(
      metrics.databaseAvailable,
      {},
      () => Number(health.isAvailable),
    );
  }

  /** Watches a pool; `max` is its number of connections at most. */
  watchPool(name: string, pool: WatchedPool, max: number): void {
    const of = { [attributes.pool]: name };
    const count = (state: string, read: () => number) =>
      this.#registry.gauge(
        metrics.connectionCount,
        { ...of, [attributes.connectionState]: state },
        read,
      );
    count("used", () => pool.state.open - pool.state.idle);
    count("idle", () => pool.state.idle);
    this.#registry.gauge(metrics.connectionLimit, of, () => max);
    this.#registry.gauge(
      metrics.pendingRequests,
      of,
      () => pool.state.waiting,
    );
  }

  /** Watches the queue; `hasRoom` tells whether an overload is over. */
  watchQueue(queue: WatchedQueue, hasRoom: () => boolean): void {
    const gauges = [
      [metrics.queueWrites, "waiting"],
      [metrics.queueSize, "waitingBytes"],
      [metrics.queueBusySlots, "busySlots"],
    ] as const;
    for (const [metric, field] of gauges) {
      this.#registry.gauge(metric, {}, () => queue.state[field]);
    }
    this.#hasRoom = hasRoom;
  }

  /** Takes the sizes of shared transactions. */
  batchSizes(): (writes: number) => void {
    const histogram = this.#registry.histogram(metrics.queueBatchSize, {});
    return (writes) => histogram.record(writes);
  }

  /** Hears how long transactions of a pool wait for a connection. */
  waits(pool: string): PoolWaits {
    const of = { [attributes.pool]: pool };
    const times = this.#registry.histogram(metrics.connectionWaitTime, of);
    const timeouts = this.#registry.counter(metrics.connectionTimeouts, of);
    return {
      acquired: (waitedMs) => times.record(waitedMs / 1000),
      timedOut: () => timeouts.add(),
    };
  }

  /** Takes the calls on object storage. */
  objectStorage(): (call: ObjectStorageCall) => void {
    return ({ action, milliseconds, errorType }) =>
      this.#registry.histogram(metrics.objectStorageDuration, {
        [attributes.objectStorageAction]: action,
        ...(errorType === undefined ? {} : {
          [attributes.errorType]: errorType,
        }),
      }).record(milliseconds / 1000);
  }

  /** Counts the bytes of a pool's connections. */
  traffic(pool: string): Traffic {
    const counter = (direction: string) =>
      this.#registry.counter(metrics.networkIo, {
        [attributes.pool]: pool,
        [attributes.direction]: direction,
      });
    return { received: counter("receive"), sent: counter("transmit") };
  }

  /** Connects, and watches the connection until it ends. */
  async connect<S extends { closed: Promise<void> }>(
    pool: string,
    connect: () => Promise<S>,
    toStorageError: (error: unknown) => StreamStorageError,
  ): Promise<S> {
    const since = performance.now();
    try {
      const session = await connect();
      this.#registry.histogram(metrics.connectionCreateTime, {
        [attributes.pool]: pool,
      }).record((performance.now() - since) / 1000);
      this.health.connected();
      void session.closed.then(() => this.health.connectionLost(pool));
      return session;
    } catch (error) {
      this.health.connectFailed(toStorageError(error));
      throw error;
    }
  }

  /** All metrics at this moment. */
  read(): MetricFamily[] {
    return this.#registry.read();
  }

  /** Connections that end from now on are meant to. */
  closing(): void {
    this.health.closing();
  }

  /** Reports for the last time; OpenTelemetry lets go of the store. */
  close(): void {
    this.ownership.released();
    this.#registry.close();
  }
}
