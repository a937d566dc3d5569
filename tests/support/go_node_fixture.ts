/**
 * The database of a real Go node, and the results of the node's own reads. Both
 * are in the folder that projects share, which may stand beside this repository.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type { MiniblockDescriptor } from "../../src/storage/model.ts";
import { partitionSuffix, type StreamId } from "../../src/storage/stream_id.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { StreamReader } from "../../src/storage/stream_reader.ts";

/** The schema that the dump makes. */
export const nodeSchema = "node_fixture";

const folder = new URL("../../../shared/fixtures/", import.meta.url);

/** Whether the fixture is there. */
export const hasNodeFixture = existsSync(new URL("go_node.sql.gz", folder));

const read = (name: string) =>
  gunzipSync(readFileSync(new URL(name, folder))).toString();

/** SQL that makes the node's schema. */
export const nodeDump = (): string => read("go_node.sql.gz");

/** The node's reads: for each call its result, or the code of its error. */
export interface NodeReads {
  streams: Record<string, StreamId>;
  reads: Record<string, { ok?: unknown; err?: string }>;
}

/** Loads the node's own reads. */
export const nodeReads = (): NodeReads =>
  JSON.parse(read("go_node_reads.json.gz"));

const longestShown = 45;

/** Bytes in the fixture's form. */
function shown(bytes: Uint8Array): string {
  if (bytes.length <= longestShown) {
    return Buffer.from(bytes).toString("base64");
  }
  const hash = createHash("sha256").update(bytes).digest("hex");
  return `sha256:${hash}:${bytes.length}`;
}

function shownBlock({ number, data, snapshot, hash }: MiniblockDescriptor) {
  return {
    n: Number(number),
    data: shown(data),
    ...(snapshot === undefined ? {} : { snapshot: shown(snapshot) }),
    ...(hash === undefined ? {} : { hash: shown(hash) }),
  };
}

type Call = (
  reader: StreamReader,
  id: StreamId,
  args: string[],
) => Promise<unknown>;

/** Each call of the fixture, with its result in the fixture's form. */
const calls: Record<string, Call> = {
  debug: async (reader, id) => {
    const data = await reader.debugReadStreamData(id);
    return {
      blocks: data.miniblocks.map(shownBlock),
      candidates: data.miniblockCandidates.map(shownBlock),
      events: data.events.map(({ generation, slot, data }) => ({
        gen: Number(generation),
        slot,
        data: data === undefined ? null : shown(data),
      })),
      latest: Number(data.latestSnapshotMiniblockNum),
    };
  },
  readLast: async (reader, id, [preceding]) => {
    const view = await reader.readStreamFromLastSnapshot(id, Number(preceding));
    return {
      blocks: view.miniblocks.map(shownBlock),
      envs: view.minipoolEnvelopes.map(shown),
      offset: view.snapshotMiniblockOffset,
    };
  },
  read: async (reader, id, [from, to, omit]) => {
    const options = { omitSnapshot: omit === "true" };
    const range = [BigInt(from!), BigInt(to!)] as const;
    const result = await reader.readMiniblocks(id, ...range, options);
    return {
      blocks: result.miniblocks.map(shownBlock),
      terminus: result.terminus,
    };
  },
  last: async (reader, id) => Number(await reader.getLastMiniblockNumber(id)),
  maxArchived: async (reader, id) =>
    Number(await reader.getMaxArchivedMiniblockNumber(id)),
  ranges: async (reader, id) =>
    (await reader.getMiniblockNumberRanges(id)).map((range) => ({
      start: Number(range.startInclusive),
      end: Number(range.endInclusive),
      snaps: range.snapshotSeqNums.map(Number),
    })),
  isEphemeral: (reader, id) => reader.isStreamEphemeral(id),
  location: async (reader, id) => {
    const letters = { db: "D", s3: "S", gcs: "G" };
    return letters[await reader.streamMiniblocksStoredLocation(id)];
  },
  ephemeralNums: async (reader, id) =>
    (await reader.readEphemeralMiniblockNums(id)).map(Number),
  stats: async (reader, id) => {
    const stats = await reader.debugReadStreamStatistics(id);
    return {
      events: stats.minipoolEvents,
      latest: Number(stats.latestSnapshotMiniblockNum),
      ncand: stats.miniblockCandidates.length,
      nranges: stats.miniblockRanges.length,
      suffix: stats.partitionSuffix,
    };
  },
  cand: async (reader, id, [number, hash]) => {
    const wanted = hash === undefined
      ? new Uint8Array(32)
      : new Uint8Array(Buffer.from(hash, "base64"));
    const at = hash === undefined ? 1n : BigInt(number!);
    return shownBlock(await reader.readMiniblockCandidate(id, wanted, at));
  },
  candCount: (reader, id, [number]) =>
    reader.getMiniblockCandidateCount(id, BigInt(number!)),
  suffix: (_reader, id, [partitions]) =>
    Promise.resolve(partitionSuffix(id, Number(partitions))),
};

/** A reader's result of one of the node's calls. */
export async function readAsNode(
  reader: StreamReader,
  { streams }: NodeReads,
  call: string,
): Promise<{ ok?: unknown; err?: string }> {
  try {
    return { ok: await resultOf(reader, streams, call) };
  } catch (error) {
    if (!isStreamStorageError(error)) throw error;
    return { err: error.code };
  }
}

async function resultOf(
  reader: StreamReader,
  streams: NodeReads["streams"],
  call: string,
): Promise<unknown> {
  const [start, name, ...args] = call.split(" ");
  if (start === "streamsNumber") return await reader.getStreamsNumber();
  if (start === "streams") {
    const ids = await reader.getStreams();
    // The fixture's maker read the ids as base64.
    return ids.map((id) => shown(new Uint8Array(Buffer.from(id, "base64"))));
  }
  const id = Object.values(streams).find((id) => id.startsWith(start!))!;
  return await calls[name!]!(reader, id, args);
}

/** Replaces null by an empty list where our result has a list, as Go does. */
export function withLists(value: unknown, ours: unknown): unknown {
  if (value === null && Array.isArray(ours)) return [];
  if (Array.isArray(value) && Array.isArray(ours)) {
    return value.map((item, i) => withLists(item, ours[i]));
  }
  if (typeof value !== "object" || value === null) return value;
  const known = (ours ?? {}) as Record<string, unknown>;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      withLists(item, known[key]),
    ]),
  );
}
