/** Makes calls of every kind on streams of one partition. */

import {
  type MiniblockDescriptor,
  parseStreamId,
  type PostgresStreamStorage,
  type StreamId,
} from "../../mod.ts";
import { operationNames } from "../../src/storage/operations.ts";
import { partitionSuffix } from "../../src/storage/stream_id.ts";
import { callSample } from "../../src/testing/samples.ts";

const payload = new Uint8Array(100).fill(7);

let counter = 0;

function newId(): StreamId {
  const unique = `${Date.now()}${counter++}`.padStart(40, "0");
  return parseStreamId(`20${unique.padEnd(62, "0")}`);
}

/** Makes ids of this number of streams in each partition. */
export function idsByPartition(
  partitions: number,
  perPartition: number,
): StreamId[][] {
  const found = new Map<string, StreamId[]>();
  let missing = partitions * perPartition;
  while (missing > 0) {
    const id = newId();
    const suffix = partitionSuffix(id, partitions);
    const ids = found.get(suffix) ?? [];
    if (ids.length === perPartition) continue;
    found.set(suffix, [...ids, id]);
    missing--;
  }
  return [...found.values()];
}

function block(number: number, withSnapshot = false): MiniblockDescriptor {
  return {
    number: BigInt(number),
    data: payload,
    ...(withSnapshot && { snapshot: payload }),
  };
}

/** How many streams {@linkcode everyCall} needs. */
export const streamsOfEveryCall = 5;

/** In how many partitions calls are made, how often, and how many at a time. */
export interface CallsInPartitions {
  partitions: number;
  rounds: number;
  clients: number;
}

/** Makes the calls in each partition, on new streams in each round. */
export async function callAllPartitions(
  calls: (ids: readonly StreamId[]) => Promise<void>,
  { partitions, rounds, clients }: CallsInPartitions,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const left = idsByPartition(partitions, streamsOfEveryCall);
    await Promise.all(Array.from({ length: clients }, async () => {
      for (let ids; (ids = left.pop()) !== undefined;) await calls(ids);
    }));
  }
}

/**
 * Makes the calls that a node makes all day: events, candidates, blocks, and
 * reads.
 */
export async function dailyCalls(
  storage: PostgresStreamStorage,
  id: StreamId,
): Promise<void> {
  const hash = new Uint8Array(32).fill(9);
  await storage.createStreamStorage(id, block(0, true));
  for (const generation of [1, 2]) {
    for (let slot = 0; slot < 3; slot++) {
      await storage.writeEvent(id, BigInt(generation), slot, payload);
    }
    await storage.writeMiniblockCandidate(id, { ...block(generation), hash });
    await storage.readMiniblockCandidate(id, hash, BigInt(generation));
    await storage.writeMiniblocks(
      id,
      [block(generation, true)],
      { generation: BigInt(generation + 1), envelopes: [] },
      { generation: BigInt(generation) },
    );
    await storage.readStreamFromLastSnapshot(id, 0);
    await storage.readMiniblocks(id, 0n, BigInt(generation + 1));
  }
}

/** Makes those calls and all others, which a node makes rarely. */
export async function everyCall(
  storage: PostgresStreamStorage,
  [id, ephemeral, archive, copy, gone]: readonly StreamId[],
): Promise<void> {
  await dailyCalls(storage, id!);
  await looks(storage, id!);
  await storage.trimStream(id!, 1n, []);
  await storage.createEphemeralStreamStorage(ephemeral!, block(0));
  await storage.writeEphemeralMiniblock(ephemeral!, block(1));
  await storage.readEphemeralMiniblockNums(ephemeral!);
  await storage.isStreamEphemeral(ephemeral!);
  await storage.createStreamArchiveStorage(archive!);
  await storage.writeArchiveMiniblocks(archive!, 0n, [block(0), block(1)]);
  await storage.getMaxArchivedMiniblockNumber(archive!);
  const blocks = [block(3, true), block(4)];
  await storage.reinitializeStreamStorage(copy!, blocks, 3n, false);
  await storage.writePrecedingMiniblocks(copy!, [block(2)]);
  await storage.createStreamStorage(gone!, block(0, true));
  await storage.deleteStream(gone!);
  await storage.deleteStream(ephemeral!);
}

async function looks(
  storage: PostgresStreamStorage,
  id: StreamId,
): Promise<void> {
  for (const name of operationNames("reads")) {
    // The stream has no sample candidate, and is no upload.
    await callSample(storage, name, id).catch((error) => {
      // By its code: bench/marks also calls stores of other checkouts.
      if (error.code !== "NOT_FOUND") throw error;
    });
  }
  await refused(storage.writeEvent(id, 1n, 0, payload));
}

/** Expects a refusal, for which the store looks up the reason. */
async function refused(answer: Promise<void>): Promise<void> {
  await answer.then(
    () => {
      throw new Error("Expected a refusal");
    },
    () => {},
  );
}
