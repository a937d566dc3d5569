/** One call of every operation of the interface, with content that is secret. */
import type { PostgresStreamStorage } from "../../../src/postgres/postgres_stream_storage.ts";
import type { MiniblockDescriptor } from "../../../src/storage/model.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";
import {
  bytes,
  hashOf,
  mediaGenesis,
  newStreamId,
} from "../../../src/testing/contract/support.ts";
import { newMediaId } from "../media/streams.ts";

/** What an operation needs to succeed; `none`: a stream that is not there. */
export type Kind =
  | "none"
  | "regular"
  | "upload"
  | "sealed"
  | "external"
  | "archive";

/** How an operation is called. */
export interface Call {
  kind: Kind;
  /** Its arguments; the last one is for options. */
  args: (id: StreamId, content: Uint8Array) => unknown[];
}

const call = (kind: Kind, args: Call["args"] = (id) => [id]): Call => ({
  kind,
  args,
});
const block = (number: bigint, data: Uint8Array): MiniblockDescriptor => ({
  number,
  data,
  snapshot: data,
  hash: hashOf(`block ${number}`),
});
const maintenance = (kind: Kind, of?: Call["args"]) =>
  call(kind, of ?? (() => []));

/** By the operation's name; those of maintenance behind a dot. */
export const calls: Readonly<Record<string, Call>> = {
  createStreamStorage: call("none", (id, data) => [id, block(0n, data)]),
  createEphemeralStreamStorage: call(
    "none",
    (id, data) => [id, block(0n, data)],
  ),
  createStreamArchiveStorage: call("none"),
  reinitializeStreamStorage: call(
    "none",
    (id, data) => [id, [block(0n, data), block(1n, data)], 0n, false],
  ),
  deleteStream: call("regular"),
  writeEvent: call("regular", (id, data) => [id, 2n, 1, data]),
  writeMiniblocks: call(
    "regular",
    (id, data) => [
      id,
      [block(2n, data)],
      { generation: 3n, envelopes: [data] },
      { generation: 2n, size: 1 },
    ],
  ),
  writePrecedingMiniblocks: call(
    "regular",
    (id, data) => [id, [block(0n, data)]],
  ),
  writeArchiveMiniblocks: call(
    "archive",
    (id, data) => [id, 1n, [block(1n, data)]],
  ),
  writeEphemeralMiniblock: call("upload", (id, data) => [id, block(3n, data)]),
  normalizeEphemeralStream: call("upload"),
  writeMiniblockCandidate: call(
    "regular",
    (id, data) => [id, { ...block(2n, data), hash: hashOf("another") }],
  ),
  readMiniblockCandidate: call("regular", (id) => [id, hashOf("one"), 2n]),
  getMiniblockCandidateCount: call("regular", (id) => [id, 2n]),
  readStreamFromLastSnapshot: call("regular", (id) => [id, 5]),
  readMiniblocks: call("external", (id) => [id, 0n, 9n]),
  streamMiniblocks: call("external", (id) => [id, 0n, 9n]),
  readEphemeralMiniblockNums: call("upload"),
  getLastMiniblockNumber: call("regular"),
  getMaxArchivedMiniblockNumber: call("archive"),
  getMiniblockNumberRanges: call("regular"),
  isStreamEphemeral: call("upload"),
  streamMiniblocksStoredLocation: call("external"),
  getStreams: maintenance("none"),
  getStreamsNumber: maintenance("none"),
  trimStream: call("regular", (id) => [id, 1n, [0n]]),
  debugReadStreamData: call("external"),
  debugReadStreamStatistics: call("external"),
  debugDeleteMiniblocks: call("regular", (id) => [id, 0n, 1n]),
  enableTxTracker: maintenance("none"),
  dumpTxTracker: maintenance("none"),
  disableTxTracker: maintenance("none"),
  totalMiniblockDataSizeInDB: call("external"),
  metrics: maintenance("none"),
  health: maintenance("none"),
  "maintenance.trimStreams": maintenance("none"),
  "maintenance.updateTrimming": maintenance(
    "none",
    () => [{ activationFactor: 1, targets: [] }],
  ),
  "maintenance.offloadMedia": maintenance(
    "sealed",
    (streamId) => [{ streamId }],
  ),
  "maintenance.rehydrateMedia": maintenance("external", (id) => [id]),
  "maintenance.reconcileMedia": maintenance("none", () => [{ dryRun: true }]),
  "maintenance.workers": maintenance("none"),
  // They take away what the others need.
  "maintenance.sweepEphemeralStreams": maintenance(
    "none",
    () => [{ ttlMs: 0 }],
  ),
  releaseOwnership: maintenance("none"),
  close: maintenance("none"),
};

/** After these, nothing else can be called. */
export const endings: ReadonlySet<string> = new Set([
  "releaseOwnership",
  "close",
]);

/** The operations that a store has, whoever has added them. */
export function operationsOf(storage: PostgresStreamStorage): string[] {
  const methods = (of: object) =>
    Object.entries(Object.getOwnPropertyDescriptors(of))
      .filter(([, { value }]) => typeof value === "function")
      .map(([name]) => name)
      .filter((name) => name !== "constructor");
  return [
    ...prototypesOf(storage).flatMap(methods),
    ...methods(storage.maintenance).map((name) => `maintenance.${name}`),
  ];
}

/** The nearest first; a store inherits what a reader can do. */
function prototypesOf(object: object): object[] {
  const next = Object.getPrototypeOf(object) as object;
  return next === Object.prototype ? [] : [next, ...prototypesOf(next)];
}

/** Calls an operation; what it yields is collected. */
export async function invoke(
  storage: PostgresStreamStorage,
  name: string,
  args: readonly unknown[],
): Promise<unknown> {
  const [first, last] = name.split(".");
  const of = last === undefined ? storage : storage.maintenance;
  const method = Reflect.get(of, last ?? first!) as (
    ...args: readonly unknown[]
  ) => unknown;
  const result = await method.apply(of, [...args]);
  const isIterable = typeof result === "object" && result !== null &&
    Symbol.asyncIterator in result;
  return isIterable
    ? await Array.fromAsync(result as AsyncIterable<unknown>)
    : result;
}

/** Makes what an operation needs. */
export async function prepare(
  storage: PostgresStreamStorage,
  kind: Kind,
  content: Uint8Array,
): Promise<StreamId> {
  if (kind === "none") return newStreamId();
  if (kind === "archive") {
    const id = newStreamId();
    await storage.createStreamArchiveStorage(id);
    await storage.writeArchiveMiniblocks(id, 0n, [block(0n, content)]);
    return id;
  }
  if (kind === "regular") {
    const id = newStreamId();
    await storage.createStreamStorage(id, block(0n, content));
    await storage.writeMiniblocks(
      id,
      [block(1n, content)],
      { generation: 2n, envelopes: [content] },
      { generation: 1n, size: 0 },
    );
    const candidate = { ...block(2n, content), hash: hashOf("one") };
    await storage.writeMiniblockCandidate(id, candidate);
    return id;
  }
  const id = newMediaId();
  const { genesis } = mediaGenesis(2);
  const first = { ...genesis, snapshot: bytes("snapshot") };
  await storage.createEphemeralStreamStorage(id, first);
  for (const number of [1n, 2n]) {
    await storage.writeEphemeralMiniblock(id, { number, data: content });
  }
  if (kind !== "upload") await storage.normalizeEphemeralStream(id);
  if (kind === "external") {
    await storage.maintenance.offloadMedia({ streamId: id });
  }
  return id;
}
