/** What must hold when nothing is under way any more. */
import type { PostgresStreamStorage, StreamId } from "../../mod.ts";
import { isStreamStorageError } from "../../mod.ts";
import { queryOnce } from "../../tests/support/database.ts";
import { letNamesRest, newMediaId } from "../../tests/support/media_streams.ts";
import { blocksOf, isEqual, isSame } from "./contents.ts";
import type { FaultyBucket } from "./faulty_bucket.ts";
import { absent, type Ledger, type Possible } from "./ledger.ts";

/** What is looked at. */
export interface Scene {
  url: string;
  schema: string;
  storage: PostgresStreamStorage;
  bucket: FaultyBucket;
  ledger: Ledger;
  ids: readonly StreamId[];
  /** Tells of what must not be. */
  broken(text: string): void;
}

/** Reads every stream, and tells what of it is not as it was acknowledged. */
export async function checkStreams(scene: Scene): Promise<number> {
  let blocks = 0;
  for (const id of scene.ids) {
    const possible = scene.ledger.of(id);
    const found = await findStream(scene, id, possible);
    blocks += found.blocks;
    scene.ledger.settle(id, found);
  }
  return blocks;
}

async function findStream(
  { storage, broken }: Scene,
  id: StreamId,
  possible: Possible,
): Promise<Possible> {
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
  const written = blocksOf(id, version);
  if (isUpload) {
    if (!possible.mayBeUpload) {
      broken(`${id} ${version} is not sealed any more`);
    }
    const { miniblocks } = await storage.debugReadStreamData(id);
    const isKept = miniblocks.length >= possible.blocks &&
      miniblocks.every((block, i) => isSame(block, written[i]!));
    if (!isKept) broken(`${id} ${version} has lost blocks of its upload`);
    await storage.deleteStream(id);
    return absent;
  }
  if (!possible.mayBeSealed) broken(`${id} ${version} was never sealed`);
  const { miniblocks } = await storage.readMiniblocks(id, 0n, 100n);
  const streamed = await Array.fromAsync(
    storage.streamMiniblocks(id, 0n, 100n),
  );
  for (const read of [miniblocks, streamed]) {
    if (!isEqual(read, written)) broken(`${id} ${version} reads differently`);
  }
  return {
    isAbsent: false,
    version,
    blocks: written.length,
    mayBeSealed: true,
    mayBeUpload: false,
  };
}

/** Lets the offloader do what is left, as if time had passed. */
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
  broken(`the offloader has not come to its end: ${JSON.stringify(left)}`);
}

/** Each block is in one place, and each object is needed, and all there. */
export async function checkPlaces(
  { url, schema, storage, bucket, broken }: Scene,
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
    broken(`object ${name} is needed by nobody`);
  }
  for (const name of names.filter((name) => !found.includes(name))) {
    broken(`object ${name} is missing`);
  }
  const report = await storage.maintenance.reconcileMedia(dry);
  expectCounts(broken, report, {
    objects: found.length,
    streams: names.length,
    unused: 0,
    missing: 0,
    damaged: 0,
    inBothPlaces: 0,
  });
}

const dry = { dryRun: true, minAgeMs: 0 };

function expectCounts(
  broken: Scene["broken"],
  report: object,
  expected: Record<string, number>,
): void {
  const told = Object.fromEntries(
    Object.entries(report).filter(([name]) => name in expected),
  );
  const [a, b] = [told, expected].map((counts) =>
    JSON.stringify(Object.entries(counts).toSorted())
  );
  if (a !== b) broken(`reconcileMedia tells ${a}, expected ${b}`);
}

/** Plants what is unused, missing and damaged, and compares the counts. */
export async function checkCounts(scene: Scene): Promise<void> {
  const { schema, storage: { maintenance }, bucket, broken } = scene;
  const { objects } = bucket;
  const listed = await Array.fromAsync(objects.listObjects(`${schema}/`));
  const saved = await Promise.all(
    listed.slice(0, 2).map(async (object) => ({
      ...object,
      bytes: await objects.getRange(object.name, {
        start: 0,
        size: object.size,
      }),
    })),
  );
  const [lost, short] = saved;
  const orphans = [newMediaId(), newMediaId(), newMediaId()];
  for (const id of orphans) {
    await put(scene, `${schema}/${id}`, new Uint8Array(9));
  }
  if (lost) await objects.deleteObject(lost.name);
  if (short) await put(scene, short.name, short.bytes.subarray(1));
  expectCounts(broken, await maintenance.reconcileMedia(dry), {
    unused: orphans.length,
    unusedBytes: 9 * orphans.length,
    missing: lost ? 1 : 0,
    damaged: short ? 1 : 0,
  });
  for (const { name, bytes } of saved) await put(scene, name, bytes);
  const bounds = { minAgeMs: 0, maxDeleted: 10 };
  const done = await maintenance.reconcileMedia(bounds);
  expectCounts(broken, done, {
    unused: orphans.length,
    deleted: orphans.length,
    missing: 0,
    damaged: 0,
  });
}

async function put(
  { bucket: { objects } }: Scene,
  name: string,
  bytes: Uint8Array,
): Promise<void> {
  if (await objects.headObject(name) !== undefined) {
    await objects.deleteObject(name);
  }
  await objects.putObject(
    name,
    bytes.length,
    async function* () {
      for (let at = 0; at < bytes.length; at += 1_000_000) {
        yield await Promise.resolve(bytes.slice(at, at + 1_000_000));
      }
    }(),
  );
}
