import type { Attributes } from "@opentelemetry/api";
import type { StreamStorageError } from "../storage/errors.ts";
import { operationNames } from "../storage/operations.ts";
import { DatabaseHealth } from "./database_health.ts";
import { EventLog } from "./event_log.ts";
import type { Counter, Histogram } from "./instruments.ts";
import { healthOf, type QueueState, type StorageHealth } from "./health.ts";
import {
  type ConnectionEnd,
  connectionEnds,
  maintenanceCalls,
  objectStorageActions,
  otherTransactions,
  postgresReads,
} from "./known_names.ts";
import type { Logger } from "./log_events.ts";
import { attributes, metrics } from "./names.ts";
import { Operations } from "./operations.ts";
import { OwnershipWatch } from "./ownership_watch.ts";
import { type MetricFamily, Registry } from "./registry.ts";
import { StreamCounts } from "./stream_counts.ts";
import { TransactionMetrics } from "./transaction_metrics.ts";
import { WorkerRuns } from "./worker_runs.ts";

/** The properties that distinguish one store from another. */
export interface StoreTelemetryOptions {
  database: string;
  schema: string;
  /** The server, if there is only one. */
  server?: { host: string; port: number } | undefined;
  logger?: Logger | undefined;
  /** Whether it owns nothing and writes nothing. */
  isReader?: boolean;
}

/** A pool of connections, as telemetry sees it. */
export interface WatchedPool {
  state: { open: number; idle: number; waiting: number };
}

/** A queue of writes, as telemetry sees it. */
export interface WatchedQueue {
  state: { waiting: number; waitingBytes: number; busySlots: number };
}

/** A finished call to object storage. */
export interface ObjectStorageCall {
  action: string;
  milliseconds: number;
  /** The reason of its failure. */
  errorType: string | undefined;
}

/** Receives the waits for connections, and the ends of connections. */
export interface PoolWatcher {
  acquired(waitedMs: number): void;
  /** Called when no connection was free. */
  waits(): void;
  timedOut(): void;
  ended(why: ConnectionEnd): void;
}

/** Bytes between a pool and the server. */
export interface Traffic {
  readonly received: Counter;
  readonly sent: Counter;
}

/** The server that a store uses, as far as it is known. */
export interface WatchedServer {
  version: string | undefined;
  system: string | undefined;
}

/** All telemetry of one store. */
export class StoreTelemetry {
  readonly log: EventLog;
  readonly database: DatabaseHealth;
  readonly operations: Operations;
  readonly ownership: OwnershipWatch;
  readonly transactions: TransactionMetrics;
  readonly workers: WorkerRuns;
  readonly counts: StreamCounts;
  readonly #registry: Registry;
  readonly #namespace: string;
  readonly #isReader: boolean;
  #hasRoom: () => boolean = () => true;
  #queue: WatchedQueue | undefined;
  #closedAt: number | undefined;

  constructor(options: StoreTelemetryOptions) {
    const { schema, server, logger, isReader = false } = options;
    this.#namespace = `${options.database}|${schema}`;
    this.#isReader = isReader;
    const common: Attributes = {
      [attributes.system]: "postgresql",
      [attributes.namespace]: this.#namespace,
      ...(server === undefined ? {} : {
        [attributes.serverAddress]: server.host,
        [attributes.serverPort]: server.port,
      }),
    };
    const registry = new Registry(common);
    this.#registry = registry;
    this.log = new EventLog(logger);
    const health = new DatabaseHealth(this.log, () => this.#hasRoom());
    this.database = health;
    const reads = [...operationNames("reads", "lists"), ...postgresReads];
    const names = isReader ? reads : [
      ...reads,
      ...operationNames("writes", "creates"),
      ...maintenanceCalls,
    ];
    this.operations = new Operations({
      registry,
      health,
      common,
      schema,
      names,
    });
    this.ownership = new OwnershipWatch(
      isReader ? undefined : registry,
      this.log,
    );
    this.transactions = new TransactionMetrics(
      registry,
      health,
      isReader ? names : [...names, ...otherTransactions],
    );
    this.workers = new WorkerRuns(registry, this.log);
    this.counts = new StreamCounts(registry);
    registry.gauge(
      metrics.databaseAvailable,
      {},
      () => Number(health.isAvailable),
    );
  }

  /** The health of the store. */
  health(): StorageHealth {
    return healthOf({
      namespace: this.#namespace,
      database: this.database,
      ownership: this.#isReader ? undefined : this.ownership,
      queue: this.#queue && queueStateOf(this.#queue),
      closedAt: this.#closedAt,
    });
  }

  /** Registers the metrics of the store's server. */
  watchServer(server: WatchedServer): void {
    this.#registry.gauges(
      metrics.serverInfo,
      () =>
        server.version === undefined ? [] : [{
          attributes: {
            [attributes.serverVersion]: server.version,
            [attributes.systemId]: server.system ?? "",
          },
          value: 1,
        }],
    );
  }

  /** Registers the metrics of a pool; `max` is its limit of connections. */
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

  /** Registers the queue's metrics; `hasRoom`: whether an overload is over. */
  watchQueue(queue: WatchedQueue, hasRoom: () => boolean): void {
    const gauges = [
      [metrics.queueWrites, "waiting"],
      [metrics.queueSize, "waitingBytes"],
      [metrics.queueBusySlots, "busySlots"],
    ] as const;
    for (const [metric, field] of gauges) {
      this.#registry.gauge(metric, {}, () => queue.state[field]);
    }
    this.#queue = queue;
    this.#hasRoom = hasRoom;
  }

  /** Returns a function that records the sizes of shared transactions. */
  batchSizes(): (writes: number) => void {
    const histogram = this.#registry.histogram(metrics.queueBatchSize, {});
    return (writes) => histogram.record(writes);
  }

  /** Returns a watcher for the connections of a pool. */
  connections(pool: string): PoolWatcher {
    const of = { [attributes.pool]: pool };
    const times = this.#registry.histogram(metrics.connectionWaitTime, of);
    const timeouts = this.#registry.counter(metrics.connectionTimeouts, of);
    const empty = this.#registry.counter(metrics.emptyAcquisitions, of);
    const ended = (why: ConnectionEnd) =>
      this.#registry.counter(metrics.connectionsEnded, {
        ...of,
        [attributes.connectionEnd]: why,
      });
    this.#registry.expect(() => connectionEnds.forEach(ended));
    this.#createTimes(pool);
    return {
      acquired: (waitedMs) => times.record(waitedMs / 1000),
      waits: () => empty.add(),
      timedOut: () => timeouts.add(),
      ended: (why) => {
        ended(why).add();
        if (why === "lost") this.database.connectionLost(pool);
      },
    };
  }

  /** Returns a function that records calls to object storage. */
  objectStorage(): (call: ObjectStorageCall) => void {
    const duration = (of: Attributes) =>
      this.#registry.histogram(metrics.objectStorageDuration, of);
    const failures = (of: Attributes) =>
      this.#registry.counter(metrics.objectStorageFailures, of);
    this.#registry.expect(() => {
      for (const action of objectStorageActions) {
        const of = { [attributes.objectStorageAction]: action };
        duration(of);
        failures(of);
      }
    });
    return ({ action, milliseconds, errorType }) => {
      const of = { [attributes.objectStorageAction]: action };
      const failed = { ...of, [attributes.errorType]: errorType };
      duration(errorType === undefined ? of : failed)
        .record(milliseconds / 1000);
      if (errorType !== undefined) failures(of).add();
    };
  }

  /** Returns a function that counts bytes of blocks moved to object storage. */
  mediaMoved(): (bytes: number) => void {
    const moved = this.#registry.counter(metrics.mediaMoved, {});
    return (bytes) => moved.add(bytes);
  }

  /** Returns counters of the bytes of a pool's connections. */
  traffic(pool: string): Traffic {
    const counter = (direction: string) =>
      this.#registry.counter(metrics.networkIo, {
        [attributes.pool]: pool,
        [attributes.direction]: direction,
      });
    return { received: counter("receive"), sent: counter("transmit") };
  }

  /** Connects, and records the result. */
  async connect<S>(
    pool: string,
    connect: () => Promise<S>,
    toStorageError: (error: unknown) => StreamStorageError,
  ): Promise<S> {
    const since = performance.now();
    try {
      const session = await connect();
      this.#createTimes(pool).record((performance.now() - since) / 1000);
      this.database.connected();
      return session;
    } catch (error) {
      this.database.connectFailed(toStorageError(error));
      throw error;
    }
  }

  /** All metrics at this moment. */
  read(): MetricFamily[] {
    return this.#registry.read();
  }

  /** Called when the store begins to close and takes no more calls. */
  leaving(): void {
    this.#closedAt ??= performance.now();
  }

  /** Called before the store ends its connections on purpose. */
  closing(): void {
    this.database.closing();
  }

  /** Reports once more; OpenTelemetry then releases the store. */
  close(): void {
    this.ownership.released();
    this.#registry.close();
  }

  #createTimes(pool: string): Histogram {
    const of = { [attributes.pool]: pool };
    return this.#registry.histogram(metrics.connectionCreateTime, of);
  }
}

function queueStateOf({ state }: WatchedQueue): QueueState {
  const { waiting, waitingBytes, busySlots } = state;
  return { writes: waiting, bytes: waitingBytes, busySlots };
}
