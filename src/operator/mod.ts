/**
 * The tools of an operator: examine stores and their servers, find and repair
 * damage, move data, plan capacity.
 *
 * @module
 */
export { parseFindings } from "./verify/acknowledged.ts";
export type { ArchivePolicy } from "./verify/archives.ts";
export type {
  Finding,
  FindingCode,
  FindingDetail,
  FindingSeverity,
  VerifySummary,
} from "./verify/findings.ts";
export { findingKey } from "./verify/findings.ts";
export type { VerifyLevel } from "./verify/level.ts";
export type { VerifyOptions, VerifyProgress } from "./verify/options.ts";
export type { VerifyState } from "./verify/state.ts";
export { Verification, verify } from "./verify/verify.ts";
export { applyRepairs } from "./repair/apply.ts";
export type {
  ApplyRepairsOptions,
  RepairResult,
  UndoRepairsOptions,
  UndoResult,
} from "./repair/options.ts";
export type { OwnerOptions } from "./repair/owner.ts";
export { planRepairs } from "./repair/plan.ts";
export type { Repair, RepairAction } from "./repair/plan.ts";
export { undoRepairs } from "./repair/undo.ts";
export type { LockHolder } from "../database/lock_holder.ts";
export type { OwnerFacts } from "../database/ownership/rows.ts";
export type { ServerOptions } from "./session.ts";
export { findStores } from "./status/find_stores.ts";
export type { FoundStore } from "./status/find_stores.ts";
export { storeStatus } from "./status/store_status.ts";
export type {
  OpenTransaction,
  ServerStatus,
  SessionGroup,
  StoreStatus,
  StoreStatusOptions,
  StreamKind,
  StreamLocation,
  TableFamily,
} from "./status/types.ts";
export { clusterStatus } from "./cluster/cluster.ts";
export { moveStore } from "./cluster/move_store.ts";
export type {
  MoveProgress,
  MoveReport,
  MoveStoreOptions,
} from "./cluster/move_store.ts";
export type { MoveMode } from "./cluster/plan_move.ts";
export type {
  ClusterStatus,
  ClusterWorker,
  PlacedStore,
  StorePlacement,
  WorkerPlace,
} from "./cluster/types.ts";
export { planFleet } from "./fleet/plan_fleet.ts";
export type {
  FleetAssumption,
  FleetPlan,
  PlannedServer,
  PlannedStore,
} from "./fleet/plan_fleet.ts";
export type {
  FleetDescription,
  FleetLimits,
  StoreGroup,
  WorkerSize,
} from "./fleet/description.ts";
export type { MoveTimes, Needs } from "./fleet/store_needs.ts";
export { printGrants } from "../database/migrations/mod.ts";
export type {
  MigrationProgress,
  MigrationReport,
  MigrationTrack,
  PrintGrantsOptions,
  ProgressListener,
  TrackVersions,
} from "../database/migrations/mod.ts";
export {
  checkStoreMigrations,
  migrateStore,
  migrateStoreDown,
  planStoreMigrations,
  printStoreMigrations,
} from "./migrations/migrate_store.ts";
export type {
  MigrateStoreDownOptions,
  MigrateStoreOptions,
  MigrationLookOptions,
  MigrationPlan,
  PlannedMigration,
} from "./migrations/migrate_store.ts";
export type { StreamSizes } from "./streams/sizes.ts";
export { storeUsage } from "./usage/store_usage.ts";
export type {
  DiskUsage,
  LargeStream,
  SampleError,
  StoreUsage,
  StoreUsageOptions,
  TypeUsage,
  UsageProgress,
} from "./usage/types.ts";
export { listStreams } from "./streams/list_streams.ts";
export type {
  ListStreamsOptions,
  StreamFilter,
} from "./streams/list_streams.ts";
export { listBlocks, readBlock } from "./inspect/blocks.ts";
export { inspectStream } from "./inspect/inspect_stream.ts";
export type {
  BlockSizes,
  CandidatePlace,
  InspectStreamOptions,
  ListBlocksOptions,
  MinipoolExtent,
  ReadBlockOptions,
  SnapshotPlace,
  StoredBlock,
  StreamInspection,
} from "./inspect/types.ts";
export { simulateTrimming } from "./trim/simulate_trimming.ts";
export type {
  SimulateTrimmingOptions,
  TrimmingSimulation,
  TypeTrimming,
} from "./trim/simulate_trimming.ts";
export { mediaStatus } from "./media/media_status.ts";
export type {
  MediaStatus,
  MediaStreams,
  MediaTasks,
} from "./media/media_status.ts";
export type {
  CheckName,
  Diagnosis,
  DiagnosisLevel,
} from "./doctor/diagnosis.ts";
export { doctor } from "./doctor/doctor.ts";
export type { DoctorOptions, DoctorReport } from "./doctor/options.ts";
export { copyStreams } from "./transfer/copy.ts";
export type { CopyOptions } from "./transfer/copy.ts";
export { diffStreams } from "./transfer/diff.ts";
export type {
  DiffOptions,
  DiffSummary,
  StreamDifference,
} from "./transfer/diff.ts";
export { exportStreams } from "./transfer/export.ts";
export type { ExportHeader } from "./transfer/format/model.ts";
export { importStreams, verifyExport } from "./transfer/import.ts";
export type {
  ExportContents,
  ExportOptions,
  ExportSummary,
  ImportOptions,
  StreamProblem,
  TransferOptions,
  TransferProgress,
  TransferSummary,
  WhenStored,
} from "./transfer/options.ts";
export type { StreamChoice } from "./transfer/source/stream_ids.ts";
export type { BenchLine } from "./bench/latencies.ts";
export type {
  BenchLimit,
  QuickBenchOptions,
  QuickBenchReport,
} from "./bench/options.ts";
export { quickBench } from "./bench/quick_bench.ts";
export type {
  HotPartition,
  HotStream,
  SessionCount,
  StoreMetrics,
  WatchGap,
  WatchOptions,
  WatchRates,
  WatchSample,
} from "./watch/types.ts";
export { watchStore } from "./watch/watch_store.ts";
