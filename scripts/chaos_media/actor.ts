/**
 * The actors that work on the streams, in the process that is killed or
 * overtaken.
 */
import {
  isStreamStorageError,
  type PostgresStreamStorage,
  type StreamId,
} from "../../mod.ts";
import type { Random } from "../../tests/support/random.ts";
import { blocksOf, isEqual, isWritten } from "./contents.ts";
import type { Message } from "./ledger.ts";
import { isLeftOf, trimmingsOf } from "./trimmed.ts";

/** A stream as its author knows it. */
export interface Known {
  id: StreamId;
  /** The sealed version that is stored, if any. */
  version: number | undefined;
  /** How many blocks it has, if its author writes it block by block. */
  blocks: number;
  next: number;
}

/** What an actor needs. */
export interface Ground {
  storage: PostgresStreamStorage;
  random: Random;
  /** Aborts when the process should end, or no longer owns the schema. */
  signal: AbortSignal;
  send(message: Message): void;
}

/**
 * Makes a call and reports how it ended: with a result, or with an error's
 * code.
 */
export async function call<T>(
  { send }: Ground,
  name: string,
  body: () => Promise<T>,
): Promise<{ result: T; code?: undefined } | { code: string }> {
  try {
    const result = await body();
    send({ what: "call", name, outcome: "done" });
    return { result };
  } catch (error) {
    if (!isStreamStorageError(error)) {
      send({ what: "broken", text: `${name}: ${error}` });
      return { code: "NONE" };
    }
    const { reason = error.code } = error.details;
    send({ what: "call", name, outcome: String(reason) });
    return { code: error.code };
  }
}

/** Uploads and deletes its stream, until a change of it fails. */
export async function author(ground: Ground, known: Known): Promise<void> {
  const { storage, random, send, signal } = ground;
  const { id } = known;
  while (!signal.aborted) {
    if (known.version === undefined) {
      if (!await upload(ground, known)) return;
      continue;
    }
    const { maintenance } = storage;
    if (random.chance(25)) {
      send({ what: "deletes", id });
      const deleted = await call(
        ground,
        "delete",
        () => storage.deleteStream(id),
      );
      if (deleted.code !== undefined) return;
      send({ what: "deleted", id });
      known.version = undefined;
    } else if (random.chance(40)) {
      await call(ground, "rehydrate", () => maintenance.rehydrateMedia(id));
    } else if (random.chance(60)) {
      const streamId = id;
      await call(
        ground,
        "offload",
        () => maintenance.offloadMedia({ streamId }),
      );
    } else await read(ground, id, known.version);
  }
}

async function upload(ground: Ground, known: Known): Promise<boolean> {
  const { storage, send } = ground;
  const { id } = known;
  const version = known.next++;
  send({ what: "creates", id, version });
  for (const [i, block] of blocksOf(id, version).entries()) {
    const written = await call(
      ground,
      "upload",
      () => storage.writeEphemeralMiniblock(id, block),
    );
    if (written.code !== undefined) return false;
    send({ what: "has", id, blocks: i + 1 });
  }
  send({ what: "seals", id });
  const sealed = await call(
    ground,
    "seal",
    () => storage.normalizeEphemeralStream(id),
  );
  if (sealed.code !== undefined) return false;
  send({ what: "created", id });
  known.version = version;
  return true;
}

/** Reads a stream that its author does not change at the moment. */
async function read(
  ground: Ground,
  id: StreamId,
  version: number,
): Promise<void> {
  const { storage, send } = ground;
  const written = blocksOf(id, version);
  const found = await call(
    ground,
    "read",
    () => storage.readMiniblocks(id, 0n, BigInt(written.length)),
  );
  if (found.code !== undefined) return;
  if (isEqual(found.result.miniblocks, written)) return;
  send({ what: "broken", text: `${id} ${version} reads back differently` });
}

/**
 * Reads streams of this process while their authors change them. A read must
 * find one version of a stream, or nothing.
 */
export async function reader(
  ground: Ground,
  streams: readonly Known[],
): Promise<void> {
  const { storage, random, send, signal } = ground;
  while (!signal.aborted) {
    const known = streams[random.between(0, streams.length - 1)]!;
    const { id } = known;
    const found = await call(
      ground,
      "readAny",
      () => storage.readMiniblocks(id, 0n, 1000n),
    );
    if (found.code !== undefined) continue;
    const blocks = found.result.miniblocks;
    const versions = Array.from({ length: known.next }, (_, i) => i).reverse();
    const isOne = isWritten(id) ? isLeftOf : isEqual;
    // A stream that its author is writing holds the first blocks of a version.
    const length = Number(blocks.at(-1)?.number ?? -1n) + 1;
    const fits = (version: number) =>
      length === 0 || isOne(blocks, blocksOf(id, version).slice(0, length));
    if (versions.some(fits)) continue;
    send({ what: "broken", text: `${id} reads back as no version of it` });
  }
}

/** Makes the calls that work on all streams. */
export async function janitor(
  ground: Ground,
  ids: readonly StreamId[],
): Promise<void> {
  const { storage: { maintenance }, random, signal } = ground;
  const trimmings = trimmingsOf(ids);
  while (!signal.aborted) {
    const dryRun = random.chance(50);
    const bounds = { dryRun, minAgeMs: 0, maxDeleted: 100 };
    const streamId = ids[random.between(0, ids.length - 1)]!;
    const calls = {
      offloadAny: () => maintenance.offloadMedia({ streamId }),
      rehydrateAny: () => maintenance.rehydrateMedia(streamId),
      reconcile: () => maintenance.reconcileMedia(bounds),
      offloadAll: () => maintenance.offloadMedia(),
      trim: () => trimAll(ground, dryRun),
      updateTrimming: () =>
        maintenance.updateTrimming(
          trimmings[random.between(0, trimmings.length - 1)]!,
        ),
      sweep: () => maintenance.sweepEphemeralStreams({ ttlMs: 600_000 }),
    };
    const names = Object.keys(calls) as (keyof typeof calls)[];
    const name = names[random.between(0, names.length - 1)]!;
    await call<unknown>(ground, name, calls[name]);
  }
}

/**
 * Trims all streams. No stream may look damaged, whatever happens at the same
 * time.
 */
async function trimAll(
  { storage: { maintenance }, send }: Ground,
  dryRun: boolean,
): Promise<void> {
  const { refusals } = await maintenance.trimStreams({ dryRun });
  for (const { streamId, reason } of refusals) {
    send({ what: "broken", text: `${streamId} is not trimmed: ${reason}` });
  }
}
