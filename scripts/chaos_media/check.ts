/** Checks what must hold when no call and no request is in flight. */
import type {
  MiniblockDescriptor,
  PostgresStreamStorage,
  StreamId,
} from "../../mod.ts";
import { isStreamStorageError } from "../../mod.ts";
import { queryOnce } from "../../tests/support/database.ts";
import { letNamesRest } from "../../tests/support/media/streams.ts";
import { blocksOf, isEqual, isSame, isWritten } from "./contents.ts";
import type { FaultyBucket } from "./faulty_bucket.ts";
import { absent, type Ledger, type Possible } from "./ledger.ts";
import { countCleared, isLeftOf } from "./trimmed.ts";

/** What the checks read. */
export interface Scene extends Streams {
  url: string;
  schema: string;
  bucket: FaultyBucket;
}

/** The streams, and the ledger of what they may hold. */
export interface Streams {
  storage: PostgresStreamStorage;
  ledger: Ledger;
  ids: readonly StreamId[];
  /** Reports something that must not be. */
  broken(text: string): void;
}

/** Reads every stream, and reports what is not as it was acknowledged. */
export async function checkStreams(streams: Streams): Promise<number> {
  let blocks = 0;
  for (const id of streams.ids) {
    const possible = streams.ledger.of(id);
    const found = await findStream(streams, id, possible);
    blocks += found.blocks - found.cut;
    streams.ledger.settle(id, found);
  }
  return blocks;
}

async function findStream(
  streams: Streams,
  id: StreamId,
  possible: Possible,
): Promise<Possible> {
  const { storage, broken } = streams;
  const isUpload = await storage.isStreamEphemeral(id).catch((error) => {
    if (isStreamStorageError(error, "NOT_FOUND")) return undefined;
    throw error;
  });
  if (isUpload === undefined) {
    if (!possible.isAbsent) broken(`${id} is gone, but was not deleted`);
    return absent;
  }
  const { version } = possible;
  if (version === undefined) {
    broken(`${id} is there, but was deleted`);
    return absent;
  }
  if (isWritten(id)) return await findWritten(streams, id, possible, version);
  const written = blocksOf(id, version);
  if (isUpload) {
    if (!possible.mayBeUpload) {
      broken(`${id} ${version} is no longer sealed`);
    }
    const { miniblocks } = await storage.debugReadStreamData(id);
    const isKept = miniblocks.length >= possible.blocks &&
      miniblocks.every((block, i) => isSame(block, written[i]!));
    if (!isKept) broken(`${id} ${version} has lost blocks of its upload`);
    await storage.deleteStream(id);
    return absent;
  }
  if (!possible.mayBeSealed) broken(`${id} ${version} was never sealed`);
  for (const read of await readTwice(storage, id)) {
    if (!isEqual(read, written)) broken(`${id} ${version} reads differently`);
  }
  return {
    ...absent,
    isAbsent: false,
    version,
    blocks: written.length,
    mayBeSealed: true,
  };
}

/**
 * Checks a stream that its author writes block by block, and that may be
 * trimmed.
 */
async function findWritten(
  { storage, broken }: Streams,
  id: StreamId,
  possible: Possible,
  version: number,
): Promise<Possible> {
  const last = await storage.getLastMiniblockNumber(id);
  const blocks = Number(last) + 1;
  if (blocks < possible.blocks || blocks > possible.sent) {
    broken(
      `${id} ${version} has ${blocks} blocks, of which ${possible.blocks} ` +
        `were acknowledged and ${possible.sent} sent`,
    );
  }
  const written = blocksOf(id, version).slice(0, blocks);
  const reads = await readTwice(storage, id);
  for (const read of reads) {
    const first = Number(read[0]?.number ?? -1);
    if (!isLeftOf(read, written) || first < possible.cut) {
      broken(`${id} ${version} from ${first} is not what trimming leaves`);
    }
  }
  const read = reads.at(-1)!;
  return {
    ...absent,
    isAbsent: false,
    version,
    blocks,
    sent: blocks,
    cut: Number(read[0]?.number ?? 0),
    cleared: countCleared(read, written),
  };
}

/** Reads all blocks, in one call and one by one. */
async function readTwice(
  storage: PostgresStreamStorage,
  id: StreamId,
): Promise<MiniblockDescriptor[][]> {
  const { miniblocks } = await storage.readMiniblocks(id, 0n, 1000n);
  return [
    miniblocks,
    await Array.fromAsync(storage.streamMiniblocks(id, 0n, 1000n)),
  ];
}

/** Lets the offloader finish its tasks, as if time had passed. */
export async function settle(scene: Scene): Promise<void> {
  const { url, schema, storage: { maintenance }, bucket, broken } = scene;
  let left: unknown[] = [];
  for (let runs = 0; runs < 8; runs++) {
    await bucket.quiet();
    await letNamesRest({ url, schema } as never);
    await queryOnce(
      url,
      `UPDATE "${schema}".stream_storage_media_tasks SET due_at = now()`,
    );
    const { failures } = await maintenance.offloadMedia();
    left = await queryOnce(
      url,
      `SELECT stream_id, task FROM "${schema}".stream_storage_media_tasks
        WHERE task <> 'keep' UNION ALL
        SELECT stream_id, 'change' FROM "${schema}".stream_storage_media_changes`,
    );
    if (left.length === 0 && failures.length === 0) return;
  }
  broken(`the offloader has not finished: ${JSON.stringify(left)}`);
}

/**
 * Checks that each block is in one place, and each object is needed and
 * complete.
 */
export async function checkPlaces(
  { url, schema, bucket, broken }: Scene,
): Promise<void> {
  const wrong = await queryOnce(
    url,
    `SELECT es.stream_id AS id, es.blockdata_ext AS at
      FROM "${schema}".es WHERE CASE blockdata_ext
        WHEN 'D' THEN EXISTS (SELECT 1 FROM "${schema}".miniblocks_ext_m00 AS b
            WHERE b.stream_id = es.stream_id)
          OR EXISTS (SELECT 1 FROM "${schema}".stream_storage_media_blocks AS b
            WHERE b.stream_id = es.stream_id)
        ELSE EXISTS (SELECT 1 FROM "${schema}".miniblocks_m00 AS b
            WHERE b.stream_id = es.stream_id) END`,
  );
  if (wrong.length > 0) broken(`in two places: ${JSON.stringify(wrong)}`);
  const needed = await queryOnce(
    url,
    `SELECT stream_id AS id FROM "${schema}".es WHERE blockdata_ext <> 'D'`,
  );
  const names = (needed as { id: string }[]).map(({ id }) => `${schema}/${id}`);
  const objects = await Array.fromAsync(
    bucket.objects.listObjects(`${schema}/`),
  );
  const found = objects.map(({ name }) => name);
  for (const name of found.filter((name) => !names.includes(name))) {
    broken(`no stream needs object ${name}: ${bucket.historyOf(name)}`);
  }
  for (const name of names.filter((name) => !found.includes(name))) {
    broken(`object ${name} is missing: ${bucket.historyOf(name)}`);
  }
}
