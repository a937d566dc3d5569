/**
 * Checks that `reconcileMedia` counts exactly what is there, and deletes only
 * strays.
 */
import type { ReconcileMediaReport } from "../../mod.ts";
import type { StoredObject } from "../../src/media/object_store.ts";
import { isStreamId, streamType } from "../../src/storage/stream_id.ts";
import { queryOnce } from "../../tests/support/database.ts";
import { newMediaId } from "../../tests/support/media/streams.ts";
import type { Scene } from "./check.ts";

/** Compares every count of a dry run with rows and objects. */
export async function checkReport(scene: Scene): Promise<void> {
  const expected = await expectedReport(scene);
  const dry = { dryRun: true, minAgeMs: 0, maxDeleted: 1000 };
  const report = await scene.storage.maintenance.reconcileMedia(dry);
  compare(scene, report, expected);
}

/**
 * Leaves everything that it can find, and compares its report and its effects.
 */
export async function checkCounts(scene: Scene): Promise<void> {
  const { schema, storage: { maintenance }, bucket: { objects } } = scene;
  const whole = await listed(scene);
  const [lost, short, doubled] = whole;
  const bytes = lost && await bytesOf(scene, lost);
  const others = short && await bytesOf(scene, short);
  const unused = [newMediaId(), newMediaId(), newMediaId()];
  const notOurs = [`${schema}/readme`, `${schema}0/${newMediaId()}`];
  for (const name of [...unused.map((id) => `${schema}/${id}`), ...notOurs]) {
    await put(scene, name, new Uint8Array(9));
  }
  if (lost) await objects.deleteObject(lost.name);
  if (short) await put(scene, short.name, others!.subarray(1));
  if (doubled) await leaveBehind(scene, doubled.name);
  await checkReport(scene);
  if (lost) await put(scene, lost.name, bytes!);
  if (short) await put(scene, short.name, others!);
  const expected = await expectedReport(scene);
  const few = { minAgeMs: 0, maxDeleted: expected.unused - 1 };
  const refused = await maintenance.reconcileMedia({ ...few, dryRun: true });
  compare(scene, refused, { ...expected, refused: "too_many_unused" });
  const bounds = { minAgeMs: 0, maxDeleted: expected.unused };
  compare(scene, await maintenance.reconcileMedia(bounds), {
    ...expected,
    dryRun: false,
    deleted: expected.unused,
  });
  for (const name of notOurs) await objects.deleteObject(name);
  const namesOf = (all: StoredObject[]) => all.map(({ name }) => name).sort();
  const [before, after] = [whole, await listed(scene)].map(namesOf);
  if (String(before) !== String(after)) {
    scene.broken(`reconcileMedia left ${after}, expected ${before}`);
  }
  await checkReport(scene);
}

function listed({ schema, bucket }: Scene): Promise<StoredObject[]> {
  return Array.fromAsync(bucket.objects.listObjects(`${schema}/`));
}

/** Computes the expected report from rows and objects. */
async function expectedReport(scene: Scene): Promise<ReconcileMediaReport> {
  const { schema, url } = scene;
  const rows = await queryOnce(
    url,
    `SELECT es.stream_id AS id,
        (SELECT max(start_byte + size) FROM "${schema}".miniblocks_ext_m00 AS b
          WHERE b.stream_id = es.stream_id) AS size,
        EXISTS (SELECT 1 FROM "${schema}".miniblocks_m00 AS b
          WHERE b.stream_id = es.stream_id) AS is_here
      FROM "${schema}".es WHERE blockdata_ext <> 'D' ORDER BY stream_id`,
  ) as { id: string; size: string; is_here: boolean }[];
  const objects = await listed(scene);
  const idOf = ({ name }: StoredObject) => name.slice(schema.length + 1);
  const isForeign = (object: StoredObject) => {
    const id = idOf(object);
    return !isStreamId(id) || streamType(id) !== "media";
  };
  const sizes = new Map(objects.map((one) => [idOf(one), one.size]));
  const used = new Set(rows.map(({ id }) => id));
  const unused = objects.filter((object) =>
    !isForeign(object) && !used.has(idOf(object))
  );
  const missing = rows.filter(({ id }) => !sizes.has(id));
  const damaged = rows.filter(({ id, size }) =>
    sizes.has(id) && sizes.get(id) !== Number(size)
  );
  return {
    dryRun: true,
    objects: objects.length,
    streams: rows.length,
    unused: unused.length,
    unusedBytes: unused.reduce((bytes, { size }) => bytes + size, 0),
    unusedObjects: unused.map(({ name }) => name),
    young: 0,
    foreign: objects.filter(isForeign).length,
    missing: missing.length,
    damaged: damaged.length,
    inBothPlaces: rows.filter(({ is_here }) => is_here).length,
    brokenStreams: [...missing, ...damaged].map(({ id }) =>
      id as ReconcileMediaReport["brokenStreams"][number]
    ),
    deleted: 0,
  };
}

/** Compares two reports, whose lists may have any order. */
function compare(
  { broken }: Scene,
  report: ReconcileMediaReport,
  expected: ReconcileMediaReport,
): void {
  const [a, b] = [report, expected].map((report) =>
    JSON.stringify(
      Object.entries({
        ...report,
        unusedObjects: report.unusedObjects.toSorted(),
        brokenStreams: report.brokenStreams.toSorted(),
      }).toSorted(),
    )
  );
  if (a !== b) broken(`reconcileMedia reports ${a}, expected ${b}`);
}

/**
 * Leaves what an interrupted rehydration leaves: a block that is also in the
 * database.
 */
async function leaveBehind({ url, schema }: Scene, name: string) {
  const id = name.slice(schema.length + 1);
  await queryOnce(
    url,
    `INSERT INTO "${schema}".miniblocks_m00 (stream_id, seq_num, blockdata)
      VALUES ('${id}', 0, '\\x00')`,
  );
}

function bytesOf(
  { bucket: { objects } }: Scene,
  { name, size }: StoredObject,
): Promise<Uint8Array> {
  return objects.getRange(name, { start: 0, size });
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
