/** Helpers of the contract's tests. */
import assert from "node:assert/strict";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  isStreamStorageError,
  type StreamStorageErrorCode,
} from "../../storage/errors.ts";
import type {
  MiniblockDescriptor,
  MiniblockRange,
  ReadStreamFromLastSnapshotResult,
} from "../../storage/model.ts";
import {
  parseStreamId,
  type StreamId,
  type StreamType,
} from "../../storage/stream_id.ts";
import type { StreamStorage } from "../../storage/stream_storage.ts";
import type { PlantedBlock, PlantedStream } from "./suite.ts";

/** The largest number of a block. */
export const MAX_NUMBER = 2n ** 63n - 1n;

/** The first byte of a type's ids, and how many bytes they use. */
export const ID_FORMS: Record<
  Exclude<StreamType, "unknown">,
  readonly [first: number, used: number]
> = {
  space: [0x10, 21],
  channel: [0x20, 32],
  dm: [0x88, 32],
  gdm: [0x77, 32],
  media: [0xff, 32],
  metadata: [0xdd, 9],
  user: [0xa8, 21],
  user_settings: [0xa5, 21],
  user_inbox: [0xa1, 21],
  user_metadata: [0xad, 21],
};

/** An id that no other test uses. */
export function newStreamId(type: keyof typeof ID_FORMS = "space"): StreamId {
  const [first, used] = ID_FORMS[type];
  const bytes = new Uint8Array(32);
  crypto.getRandomValues(bytes.subarray(0, used));
  bytes[0] = first;
  return parseStreamId(bytes);
}

/** The UTF-8 bytes of a text: readable payloads for failing tests. */
export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The numbers from `first` to `last`, both included. */
export function run(first: bigint | number, last: bigint | number): bigint[] {
  const numbers: bigint[] = [];
  for (let n = BigInt(first); n <= BigInt(last); n++) numbers.push(n);
  return numbers;
}

/** A block without a snapshot, its data naming the number. */
export function block(number: bigint | number): MiniblockDescriptor {
  return { number: BigInt(number), data: bytes(`block ${number}`) };
}

/**
 * A block that names its writer. If all writers' blocks were equal, neither a
 * test nor a store that lost an answer could tell whose block is stored.
 */
export function blockBy(
  writer: bigint | number,
  number: bigint | number,
): MiniblockDescriptor {
  return {
    number: BigInt(number),
    data: bytes(`block ${number} by ${writer}`),
  };
}

/** A block with a snapshot beside it. */
export function snapshotBlock(number: bigint | number): MiniblockDescriptor {
  return { ...block(number), snapshot: bytes(`snapshot ${number}`) };
}

/** A block with a snapshot inside its data. */
export function legacyBlock(number: bigint | number): MiniblockDescriptor {
  const header = new BinaryWriter().tag(1, WireType.Varint).int64(
    BigInt(number),
  ).tag(5, WireType.LengthDelimited).bytes(bytes("")).finish();
  const event = nest(100, header);
  return {
    number: BigInt(number),
    data: nest(2, nest(3, event)),
    hasLegacySnapshot: true,
  };
}

/** The genesis of a media stream of so many chunks, and its header's hash. */
export function mediaGenesis(
  chunkCount: number,
): { genesis: MiniblockDescriptor; headerHash: Uint8Array } {
  const headerHash = hashOf(`header of ${chunkCount} chunks`);
  const inception = new BinaryWriter().tag(3, WireType.Varint)
    .int32(chunkCount).finish();
  const event = nest(3, nest(108, nest(1, inception)));
  const header = new BinaryWriter()
    .tag(1, WireType.LengthDelimited).bytes(headerHash)
    .tag(3, WireType.LengthDelimited).bytes(nest(100, bytes(""))).finish();
  const data = new BinaryWriter()
    .tag(1, WireType.LengthDelimited).bytes(event)
    .tag(2, WireType.LengthDelimited).bytes(header).finish();
  return { genesis: { number: 0n, data }, headerHash };
}

function nest(fieldNo: number, body: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(fieldNo, WireType.LengthDelimited)
    .bytes(body).finish();
}

/** 32 bytes that differ for different texts of up to 32 characters. */
export function hashOf(text: string): Uint8Array {
  const hash = new Uint8Array(32);
  hash.set(bytes(text).subarray(0, 32));
  return hash;
}

/** A candidate: a block with a hash. */
export function candidate(
  number: bigint | number,
  hash = `hash ${number}`,
): MiniblockDescriptor & { hash: Uint8Array } {
  return { ...block(number), hash: hashOf(hash) };
}

/** The block that a read must return. */
export function readBack(given: MiniblockDescriptor): MiniblockDescriptor {
  const { number, data, snapshot } = given;
  return snapshot && snapshot.length > 0
    ? { number, data, snapshot }
    : { number, data };
}

/** The properties of a planted stream that matter to a test. */
export interface PlantOptions {
  /** The blocks that carry a snapshot of their own. */
  snapshots?: (bigint | number)[];
  /** The latest snapshot; default the last of `snapshots`, or 0. */
  latest?: bigint | number;
  /** Events in the minipool; default none, `"no rows"` for no marker, too. */
  events?: number | "no rows";
  /** Whether the stream is ephemeral. */
  ephemeral?: boolean;
}

/** The rows of a stream with blocks of these numbers. */
export function plantedStream(
  numbers: bigint[],
  options: PlantOptions = {},
): PlantedStream {
  const snapshots = (options.snapshots ?? []).map(BigInt);
  const generation = (numbers.at(-1) ?? -1n) + 1n;
  const events = options.events ?? 0;
  return {
    latestSnapshot: BigInt(options.latest ?? snapshots.at(-1) ?? 0),
    ephemeral: options.ephemeral ?? false,
    blocks: numbers.map((number): PlantedBlock =>
      readBack(
        snapshots.includes(number) ? snapshotBlock(number) : block(number),
      )
    ),
    minipool: events === "no rows" ? [] : minipool(generation, events),
  };
}

/** The rows of a minipool: the marker and this many events. */
export function minipool(
  generation: bigint | number,
  events: number,
): PlantedStream["minipool"] {
  return run(-1, events - 1).map((slot) => ({
    generation: BigInt(generation),
    slot: Number(slot),
    envelope: slot < 0n ? null : bytes(`event ${slot}`),
  }));
}

/** The expected content of an error. */
export interface ExpectedError {
  code: StreamStorageErrorCode;
  reason?: string;
  /** The name of the method. */
  operation?: string;
  /** Details that must be present; `undefined` for one that must be absent. */
  details?: Record<string, unknown>;
}

/** Asserts that a call fails as expected, and that it wrote nothing. */
export async function assertFails(
  call: Promise<unknown>,
  expected: ExpectedError,
): Promise<void> {
  await assert.rejects(call, (error) => {
    assertStorageError(error, expected);
    return true;
  });
}

/** Asserts that an error is one of the storage with this content. */
export function assertStorageError(
  error: unknown,
  { code, reason, operation, details = {} }: ExpectedError,
): void {
  if (!isStreamStorageError(error)) throw error;
  const found = Object.fromEntries(
    Object.keys(details).map((key) => [key, error.details[key]]),
  );
  assert.deepEqual(
    {
      code: error.code,
      reason: reason === undefined ? undefined : error.details["reason"],
      operation: operation === undefined ? undefined : error.operation,
      details: found,
      outcome: error.outcome,
    },
    { code, reason, operation, details, outcome: "rolled_back" },
    `Unexpected content of: ${error.message}`,
  );
}

/** Everything that a stream serves, through the core families' reads. */
export interface StreamContent {
  view: ReadStreamFromLastSnapshotResult;
  ranges: MiniblockRange[];
  streams: number;
}

/** Reads the whole last run of a stream and its minipool. */
export async function contentOf(
  storage: StreamStorage,
  streamId: StreamId,
): Promise<StreamContent> {
  return {
    view: await storage.readStreamFromLastSnapshot(streamId, 1_000_000),
    ranges: await storage.getMiniblockNumberRanges(streamId),
    streams: await storage.getStreamsNumber(),
  };
}

/** Asserts that a call fails and does not change what the stream serves. */
export async function assertRefused(
  storage: StreamStorage,
  streamId: StreamId,
  call: () => Promise<unknown>,
  expected: ExpectedError,
): Promise<void> {
  const before = await contentOf(storage, streamId);
  await assertFails(call(), expected);
  assert.deepEqual(await contentOf(storage, streamId), before);
}

/** Asserts the numbers of the blocks that a stream serves. */
export async function assertServes(
  storage: StreamStorage,
  streamId: StreamId,
  expected: { blocks: bigint[]; latest: bigint; events: string[] },
): Promise<void> {
  const view = await storage.readStreamFromLastSnapshot(streamId, 1_000_000);
  const numbers = view.miniblocks.map(({ number }) => number);
  assert.deepEqual({
    blocks: numbers,
    latest: (numbers[0] ?? 0n) + BigInt(view.snapshotMiniblockOffset),
    events: view.minipoolEnvelopes.map((event) =>
      new TextDecoder().decode(event)
    ),
  }, expected);
}

/** All blocks of a `streamMiniblocks`. */
export async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
}

/** Counts the calls that succeeded, and collects the errors of the others. */
export async function settle(
  calls: Promise<unknown>[],
): Promise<{ succeeded: number; errors: unknown[] }> {
  const results = await Promise.allSettled(calls);
  const errors = results.flatMap((result) =>
    result.status === "rejected" ? [result.reason as unknown] : []
  );
  return { succeeded: results.length - errors.length, errors };
}

/**
 * Asserts that all byte arrays of a result are plain copies: changing them
 * affects nobody else.
 */
export async function assertOwnBytes(
  read: () => Promise<unknown>,
): Promise<void> {
  const first = await read();
  const before = structuredClone(first);
  const arrays = byteArraysOf(first);
  assert.ok(arrays.length > 0, "Nothing was read");
  for (const array of arrays) {
    assert.equal(array.constructor, Uint8Array);
    assert.equal(array.buffer.byteLength, array.byteLength);
    array.fill(0xff);
  }
  assert.deepEqual(await read(), before);
}

function byteArraysOf(value: unknown): Uint8Array[] {
  if (value instanceof Uint8Array) return [value];
  return typeof value === "object" && value !== null
    ? Object.values(value).flatMap(byteArraysOf)
    : [];
}
