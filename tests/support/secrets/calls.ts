/** A call of every operation of the interface, with secret content. */
import type { PostgresStreamStorage } from "../../../src/postgres/postgres_stream_storage.ts";
import {
  type OperationName,
  operationNames,
  type SampleStream,
} from "../../../src/storage/operations.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";
import { sampleArguments } from "../../../src/testing/samples.ts";
import { makeSampleStream, sampleStreamOf } from "../sample_streams.ts";

/** The kind of stream that an operation needs to succeed. */
export type Kind = SampleStream | "sealed" | "external";

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
const maintenance = (kind: Kind, of?: Call["args"]) =>
  call(kind, of ?? (() => []));

/** A sample call, on its own stream or on one of another kind. */
const sample = (name: OperationName, kind?: Kind) =>
  call(
    kind ?? sampleStreamOf(name),
    (id, content) => sampleArguments(name, id, content),
  );
const samples = Object.fromEntries(
  operationNames().map((name) => [name, sample(name)]),
);

/** The calls by the operation's name; maintenance has `maintenance.` before it. */
export const calls: Readonly<Record<string, Call>> = {
  ...samples,
  // A later block of an upload takes another path than the first one.
  writeEphemeralMiniblock: call("upload", (id, data) => [
    id,
    { number: 3n, data, snapshot: data },
  ]),
  readMiniblocks: sample("readMiniblocks", "external"),
  streamMiniblocks: sample("streamMiniblocks", "external"),
  streamMiniblocksStoredLocation: sample(
    "streamMiniblocksStoredLocation",
    "external",
  ),
  debugReadStreamData: sample("debugReadStreamData", "external"),
  debugReadStreamStatistics: sample("debugReadStreamStatistics", "external"),
  enableTxTracker: maintenance("unknown"),
  dumpTxTracker: maintenance("unknown"),
  disableTxTracker: maintenance("unknown"),
  totalMiniblockDataSizeInDB: call("external"),
  metrics: maintenance("unknown"),
  health: maintenance("unknown"),
  "maintenance.trimStreams": maintenance("unknown"),
  "maintenance.updateTrimming": maintenance(
    "unknown",
    () => [{ activationFactor: 1, targets: [] }],
  ),
  "maintenance.offloadMedia": maintenance(
    "sealed",
    (streamId) => [{ streamId }],
  ),
  "maintenance.rehydrateMedia": maintenance("external", (id) => [id]),
  "maintenance.reconcileMedia": maintenance(
    "unknown",
    () => [{ dryRun: true }],
  ),
  "maintenance.workers": maintenance("unknown"),
  // The next three take away streams, or the store, that other calls need.
  "maintenance.sweepEphemeralStreams": maintenance(
    "unknown",
    () => [{ ttlMs: 0 }],
  ),
  releaseOwnership: maintenance("unknown"),
  close: maintenance("unknown"),
};

/** Calls after which no other call is possible. */
export const endings: ReadonlySet<string> = new Set([
  "releaseOwnership",
  "close",
]);

/** All operations of a store, inherited ones included. */
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

/** An object's prototypes, the nearest first. A store inherits from a reader. */
function prototypesOf(object: object): object[] {
  const next = Object.getPrototypeOf(object) as object;
  return next === Object.prototype ? [] : [next, ...prototypesOf(next)];
}

/** Calls an operation, and collects what it yields. */
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

/** Makes a stream of a kind. */
export async function prepare(
  storage: PostgresStreamStorage,
  kind: Kind,
  content: Uint8Array,
): Promise<StreamId> {
  if (kind !== "sealed" && kind !== "external") {
    return await makeSampleStream(storage, kind, content);
  }
  const id = await makeSampleStream(storage, "upload", content);
  await storage.normalizeEphemeralStream(id);
  if (kind === "external") {
    await storage.maintenance.offloadMedia({ streamId: id });
  }
  return id;
}
