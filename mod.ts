/**
 * Storage of streams — miniblocks, minipools and candidates — on PostgreSQL,
 * in the schema that Towns nodes use, with a twin in memory for unit tests.
 *
 * - {@linkcode openStreamStorage} opens a store and takes over its schema.
 * - {@linkcode StreamStorage} lists its operations;
 *   {@linkcode MemoryStreamStorage} is the twin in memory.
 * - {@linkcode StreamStorageError} is the error that every call fails with.
 *
 * The repository's `docs/` has a page for each job: connecting, operating,
 * observability, testing and more.
 *
 * @example Create a stream, add an event, read both.
 * ```ts
 * import { openStreamStorage, parseStreamId } from "@towns/stream-storage";
 *
 * await using storage = await openStreamStorage({
 *   url: "postgresql://towns:secret@db.example/towns?sslmode=verify-full",
 *   schema: "streams",
 * });
 *
 * const space = parseStreamId("10" + "ab".repeat(20) + "00".repeat(11));
 * await storage.createStreamStorage(space, {
 *   number: 0n,
 *   data: new TextEncoder().encode("genesis"),
 *   snapshot: new TextEncoder().encode("snapshot"),
 * });
 * await storage.writeEvent(space, 1n, 0, new TextEncoder().encode("hello"));
 *
 * const { miniblocks, minipoolEnvelopes } = await storage
 *   .readStreamFromLastSnapshot(space, 0);
 * console.log(miniblocks.length, minipoolEnvelopes.length); // 1 1
 * ```
 *
 * @module
 */
export {
  MemoryStreamStorage,
  type MemoryStreamStorageOptions,
} from "./src/memory/memory_stream_storage.ts";
export type { Setting } from "./src/postgres/setting.ts";
export type { QuotaOptions } from "./src/postgres/quotas.ts";
export type { TrimmingOptions } from "./src/postgres/trimming_options.ts";
export { openStreamReader } from "./src/open_stream_reader.ts";
export { openStreamStorage } from "./src/open_stream_storage.ts";
export type {
  FailedStream,
  OffloadMediaOptions,
  OffloadMediaReport,
  ReconcileMediaOptions,
  ReconcileMediaReport,
  RehydrateMediaReport,
  StreamMaintenance,
  SweepOptions,
  SweepReport,
  TrimmedStream,
  TrimRefusal,
  TrimReport,
  TrimStreamsOptions,
  WorkerStatus,
} from "./src/postgres/maintenance.ts";
export type {
  GcsAccessToken,
  GcsTokenSource,
  S3Credentials,
  S3CredentialsSource,
} from "./src/media/given_credentials.ts";
export type {
  GcsMediaStorageOptions,
  MediaStorageOptions,
  S3MediaStorageOptions,
} from "./src/postgres/media_options.ts";
export type {
  MigrationSession,
  RetryPolicy,
  StreamStorageOptions,
} from "./src/postgres/options.ts";
export type { PostgresStreamReader } from "./src/postgres/postgres_stream_reader.ts";
export type { StreamReaderOptions } from "./src/postgres/reader_options.ts";
export type { PostgresStreamStorage } from "./src/postgres/postgres_stream_storage.ts";
export type { IsolationLevel } from "./src/postgres/store.ts";
export { ConnectionLimit } from "./src/storage/connection_limit.ts";
export type { SslMode, SslOptions } from "./src/database/connection_target.ts";
export type { WhenOwned } from "./src/database/ownership/options.ts";
export type { ChannelBinding } from "./src/database/login/auth_policy.ts";
export type {
  TransactionEvent,
  TransactionRecord,
} from "./src/database/transaction_ring.ts";
export {
  isStreamStorageError,
  StreamStorageError,
  type StreamStorageErrorCode,
  type StreamStorageErrorInit,
  type StreamStorageOutcome,
} from "./src/storage/errors.ts";
export type {
  DebugReadStreamDataResult,
  DebugReadStreamStatisticsResult,
  GetStreamsOptions,
  MiniblockDescriptor,
  MiniblockRange,
  MiniblocksStoredLocation,
  MinipoolEvent,
  NewMinipool,
  OperationOptions,
  PreviousMinipool,
  ReadMiniblocksOptions,
  ReadMiniblocksResult,
  ReadStreamFromLastSnapshotResult,
} from "./src/storage/model.ts";
export {
  closestSnapshotMiniblock,
  miniblockIdsToRanges,
  snapshotsToNullify,
} from "./src/storage/rules.ts";
export {
  isStreamId,
  parseStreamId,
  partitionSuffix,
  schemaLockId,
  schemaNameForArchive,
  schemaNameFromAddress,
  type StreamId,
  type StreamType,
  streamType,
} from "./src/storage/stream_id.ts";
export type {
  LogCode,
  LogEvent,
  Logger,
  LogLevel,
} from "./src/telemetry/log_events.ts";
export type { HistogramValue } from "./src/telemetry/instruments.ts";
export type { MetricDefinition, MetricKind } from "./src/telemetry/names.ts";
export type { MetricFamily, MetricSample } from "./src/telemetry/registry.ts";
export type { StreamReader } from "./src/storage/stream_reader.ts";
export type { StreamStorage } from "./src/storage/stream_storage.ts";
