/**
 * The one table of what the storage reports: metrics, spans and their
 * attributes. Names with `db.`, `error.`, `network.` and `server.` are
 * OpenTelemetry's semantic conventions for database clients; the others begin
 * with `stream_storage.`.
 *
 * Instruments, the Prometheus text and docs/observability.md come from it.
 */

/** What kind of number a metric is. */
export type MetricKind =
  /** Only grows. */
  | "counter"
  /** Goes up and down. */
  | "updowncounter"
  /** Counts values by size. */
  | "histogram";

/** One metric. */
export interface MetricDefinition {
  /** Its name in OpenTelemetry. */
  readonly name: string;
  /** The kind of its number. */
  readonly kind: MetricKind;
  /** Its unit in UCUM: `s`, `By`, or what is counted, in braces. */
  readonly unit: string;
  /** What it measures. */
  readonly description: string;
  /** Its attributes, besides those of every metric. */
  readonly attributes: readonly string[];
  /** For a histogram: the upper bounds of its buckets. */
  readonly buckets?: readonly number[];
}

/** The attributes of metrics and spans, and what they hold. */
export const attributes = {
  system: "db.system.name",
  namespace: "db.namespace",
  operation: "db.operation.name",
  querySummary: "db.query.summary",
  sqlState: "db.response.status_code",
  serverAddress: "server.address",
  serverPort: "server.port",
  errorType: "error.type",
  pool: "db.client.connection.pool.name",
  connectionState: "db.client.connection.state",
  connectionEnd: "stream_storage.connection.end",
  direction: "network.io.direction",
  streamId: "stream_storage.stream.id",
  errorReason: "stream_storage.error.reason",
  outcome: "stream_storage.outcome",
  transaction: "stream_storage.transaction.name",
  transactionOutcome: "stream_storage.transaction.outcome",
  attempt: "stream_storage.transaction.attempt",
  ownershipState: "stream_storage.ownership.state",
  worker: "stream_storage.worker.name",
  workerOutcome: "stream_storage.worker.outcome",
  objectStorageAction: "stream_storage.object_storage.action",
  mediaTask: "stream_storage.media.task",
  streamType: "stream_storage.stream.type",
  serverVersion: "stream_storage.server.version",
  systemId: "stream_storage.server.system_id",
} as const;

const a = attributes;

/** What the conventions advise for `db.client.operation.duration`. */
const conventionalSeconds = [
  0.001,
  0.005,
  0.01,
  0.05,
  0.1,
  0.5,
  1,
  5,
  10,
] as const;

/** Finer bounds for our own metrics: a read takes less than 1 ms. */
const seconds = [
  0.0001,
  0.00025,
  0.0005,
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
] as const;

/** Every metric of a store. */
export const metrics = {
  operationDuration: {
    name: "db.client.operation.duration",
    kind: "histogram",
    unit: "s",
    description:
      "Time of a call, including its waiting and retries; error.type is the error's code",
    attributes: [a.operation, a.errorType],
    buckets: conventionalSeconds,
  },
  operationErrors: {
    name: "stream_storage.operation.errors",
    kind: "counter",
    unit: "{error}",
    description: "Calls that failed, by the code of their error",
    attributes: [a.errorType],
  },
  transactionDuration: {
    name: "stream_storage.transaction.duration",
    kind: "histogram",
    unit: "s",
    description:
      "Time of a transaction, including all its attempts; its count is the number of transactions",
    attributes: [a.transaction, a.transactionOutcome],
    buckets: seconds,
  },
  transactionAttempts: {
    name: "stream_storage.transaction.attempts",
    kind: "counter",
    unit: "{attempt}",
    description: "Attempts at transactions, including the first ones",
    attributes: [a.transaction],
  },
  transactionRetries: {
    name: "stream_storage.transaction.retries",
    kind: "counter",
    unit: "{retry}",
    description:
      "Attempts after the first; error.type is the SQLSTATE of the attempt before, or connection_lost",
    attributes: [a.transaction, a.errorType],
  },
  connectionCount: {
    name: "db.client.connection.count",
    kind: "updowncounter",
    unit: "{connection}",
    description: "Open connections by state, used or idle",
    attributes: [a.pool, a.connectionState],
  },
  connectionLimit: {
    name: "db.client.connection.limit",
    kind: "updowncounter",
    unit: "{connection}",
    description: "Largest number of connections",
    attributes: [a.pool],
  },
  pendingRequests: {
    name: "db.client.connection.pending_requests",
    kind: "updowncounter",
    unit: "{request}",
    description: "Transactions that wait for a connection",
    attributes: [a.pool],
  },
  connectionTimeouts: {
    name: "db.client.connection.timeouts",
    kind: "counter",
    unit: "{timeout}",
    description: "Transactions that got no connection in time",
    attributes: [a.pool],
  },
  connectionCreateTime: {
    name: "db.client.connection.create_time",
    kind: "histogram",
    unit: "s",
    description: "Time to open a connection",
    attributes: [a.pool],
    buckets: seconds,
  },
  connectionWaitTime: {
    name: "db.client.connection.wait_time",
    kind: "histogram",
    unit: "s",
    description:
      "Time that a transaction waited for a connection; its count is the number of acquisitions",
    attributes: [a.pool],
    buckets: seconds,
  },
  emptyAcquisitions: {
    name: "stream_storage.connection.empty_acquisitions",
    kind: "counter",
    unit: "{acquisition}",
    description:
      "Transactions that found no free connection and had to wait for one",
    attributes: [a.pool],
  },
  connectionsEnded: {
    name: "stream_storage.connection.ended",
    kind: "counter",
    unit: "{connection}",
    description:
      "Connections that closed before the store did: idle (for long), spare (another store needed it), refused (the server refused one to another pool) or lost",
    attributes: [a.pool, a.connectionEnd],
  },
  networkIo: {
    name: "stream_storage.network.io",
    kind: "counter",
    unit: "By",
    description: "Bytes to (transmit) and from (receive) the database",
    attributes: [a.pool, a.direction],
  },
  queueWrites: {
    name: "stream_storage.write_queue.writes",
    kind: "updowncounter",
    unit: "{write}",
    description: "Writes that wait in the queue",
    attributes: [],
  },
  queueSize: {
    name: "stream_storage.write_queue.size",
    kind: "updowncounter",
    unit: "By",
    description: "Payload of the writes that wait in the queue",
    attributes: [],
  },
  queueBusySlots: {
    name: "stream_storage.write_queue.busy_slots",
    kind: "updowncounter",
    unit: "{slot}",
    description: "Write transactions in flight",
    attributes: [],
  },
  queueBatchSize: {
    name: "stream_storage.write_queue.batch_size",
    kind: "histogram",
    unit: "{write}",
    description: "Writes that shared a transaction (group commit)",
    attributes: [],
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256],
  },
  ownershipStatus: {
    name: "stream_storage.ownership.status",
    kind: "updowncounter",
    unit: "{state}",
    description:
      "1 for the present state: waiting, standby, owner, recovering (lock session lost), released (given up) or stopped; otherwise 0",
    attributes: [a.ownershipState],
  },
  databaseAvailable: {
    name: "stream_storage.database.available",
    kind: "updowncounter",
    unit: "{state}",
    description: "0 while connections to the database fail, otherwise 1",
    attributes: [],
  },
  serverInfo: {
    name: "stream_storage.server.info",
    kind: "updowncounter",
    unit: "{server}",
    description:
      "1 for the server that the store uses: its version and its cluster's system identifier, empty where unknown",
    attributes: [a.serverVersion, a.systemId],
  },
  streams: {
    name: "stream_storage.streams",
    kind: "updowncounter",
    unit: "{stream}",
    description:
      "Streams by type; counted in the background, only while metrics are collected",
    attributes: [a.streamType],
  },
  workerDuration: {
    name: "stream_storage.worker.run.duration",
    kind: "histogram",
    unit: "s",
    description: "Time of a worker's run; its count is the number of runs",
    attributes: [a.worker, a.workerOutcome],
    buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300],
  },
  workerItems: {
    name: "stream_storage.worker.items",
    kind: "counter",
    unit: "{item}",
    description: "Items that workers have dealt with: streams, objects",
    attributes: [a.worker],
  },
  objectStorageDuration: {
    name: "stream_storage.object_storage.call.duration",
    kind: "histogram",
    unit: "s",
    description:
      "Time of a call to object storage (write, look, read, delete, list), including its retries; error.type is the reason of its failure",
    attributes: [a.objectStorageAction, a.errorType],
    buckets: [0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300],
  },
  objectStorageFailures: {
    name: "stream_storage.object_storage.failures",
    kind: "counter",
    unit: "{call}",
    description: "Calls to object storage that failed, after all retries",
    attributes: [a.objectStorageAction],
  },
  mediaMoved: {
    name: "stream_storage.media.moved",
    kind: "counter",
    unit: "By",
    description: "Bytes of blocks that were moved into object storage",
    attributes: [],
  },
  mediaWaiting: {
    name: "stream_storage.media.waiting",
    kind: "updowncounter",
    unit: "{stream}",
    description:
      "Media streams that wait to be moved into object storage (offload) or whose object waits to be deleted (delete); counted together with the streams",
    attributes: [a.mediaTask],
  },
} as const satisfies Record<string, MetricDefinition>;

/** Every span, and the events on it. */
export const spans = {
  /** A call of the storage; named `OPERATION SCHEMA`. */
  call: {
    name: `{${a.operation}} {schema}`,
    kind: "CLIENT",
    description: "A call of the storage, including its waiting and retries",
    attributes: [
      a.system,
      a.namespace,
      a.operation,
      a.querySummary,
      a.serverAddress,
      a.serverPort,
      a.streamId,
      a.errorType,
      a.errorReason,
      a.outcome,
      a.sqlState,
    ],
    events: {
      retry: {
        name: "stream_storage.retry",
        description: "A transaction of the call is retried",
        attributes: [a.transaction, a.attempt, a.errorType],
      },
    },
  },
} as const;

/** The instrumentation scope of all of them. */
export const scopeName = "@towns/stream-storage";
