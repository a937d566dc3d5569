/**
 * Compares the bucket with the database, both ways.
 *
 * The bucket is listed once, page by page. After every page, the streams are
 * looked up whose ids lie up to the greatest name so far. So every stream is
 * looked up once, in whatever order the store lists. An object that no stream
 * refers to is *unused*. A stream that does not fit the list is only suspect,
 * because it may have been moved or created anew since. Another look in the
 * stream's turn, at its rows, its object and its rows again, decides. If
 * nothing has changed in between, the stream is reported as *missing*,
 * *damaged* or *in both places*.
 *
 * Only unused objects are ever deleted, and only after everything was listed
 * and the guards have agreed. If the store points at the wrong bucket, or at a
 * bucket of another database with a schema of the same name, most objects are
 * unused, and the guards refuse. Each object is looked at again, in its turn,
 * right before it is deleted.
 */

import { bind } from "../../database/statement.ts";
import type { StoredObject } from "../../media/object_store.ts";
import {
  isStoredForm,
  type StreamId,
  streamType,
} from "../../storage/stream_id.ts";
import type { Media } from "../media.ts";
import type { ReconcileMediaReport } from "../maintenance.ts";
import { selectAtLocation, selectLocations } from "../sql/media_tasks.ts";
import type { Store } from "../store.ts";
import {
  findWhereabouts,
  isWhole,
  removeLeftovers,
} from "./media_leftovers.ts";
import { removeObject } from "./media_objects.ts";

/** The bounds of a reconciliation. */
export interface ReconcileBounds {
  dryRun: boolean;
  /** Objects younger than this, in milliseconds, are left alone. */
  minAgeMs: number;
  /** If more objects are unused, none is deleted; undefined: a tenth of all. */
  maxDeleted: number | undefined;
  signal: AbortSignal;
}

const name = "reconcileMedia";
const pageSize = 1000;
const maxListed = 1000;
/** Unused objects that one run remembers; others wait for the next run. */
const maxRemembered = 10_000;
/** So many may always be deleted, even if they are more than a tenth. */
const alwaysDeletable = 10;

/** Compares, and deletes unused objects unless this is a dry run. */
export async function reconcileMedia(
  store: Store,
  media: Media,
  bounds: ReconcileBounds,
): Promise<ReconcileMediaReport> {
  const report: ReconcileMediaReport = {
    dryRun: bounds.dryRun,
    objects: 0,
    streams: 0,
    unused: 0,
    unusedBytes: 0,
    unusedObjects: [],
    young: 0,
    foreign: 0,
    missing: 0,
    damaged: 0,
    inBothPlaces: 0,
    brokenStreams: [],
    deleted: 0,
  };
  const unused: StoredObject[] = [];
  let after = "ff";
  for await (const page of pagesOf(media, bounds.signal)) {
    const listed = new Map<string, StoredObject>();
    for (const object of page) {
      report.objects++;
      const id = object.name.slice(media.prefix.length);
      if (isStoredForm(id) && streamType(id) === "media") {
        listed.set(id, object);
      } else report.foreign++;
    }
    const to = [...listed.keys()].sort().at(-1) ?? after;
    if (to > after) {
      await lookUp(store, media, { after, to, listed, report, bounds });
      after = to;
    }
    const used = await usedOf(store, media, [...listed.keys()], bounds);
    for (const [id, object] of listed) {
      if (used.has(id)) {
        await check(store, media, { id, object, report, bounds });
      } else noteUnused(object, { report, unused, bounds });
    }
  }
  const listed = new Map<string, StoredObject>();
  await lookUp(store, media, { after, to: "fg", listed, report, bounds });
  return await removeUnused(store, media, { unused, report, bounds });
}

async function* pagesOf(
  media: Media,
  signal: AbortSignal,
): AsyncGenerator<StoredObject[]> {
  let page: StoredObject[] = [];
  for await (
    const object of media.objects.listObjects(media.prefix, { signal })
  ) {
    page.push(object);
    if (page.length < pageSize) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}

interface Look {
  after: string;
  to: string;
  listed: ReadonlyMap<string, StoredObject>;
  report: ReconcileMediaReport;
  bounds: ReconcileBounds;
}

/** Looks a range of ids up, and checks the streams without an object. */
async function lookUp(
  store: Store,
  media: Media,
  { after, to, listed, report, bounds }: Look,
): Promise<void> {
  const { signal } = bounds;
  for (let from = after;;) {
    const [{ rows }] = await store.transactions.read({ name, signal }, [
      bind(
        store.catalog.at("", selectLocations),
        from,
        to,
        media.location,
        BigInt(pageSize),
      ),
    ]);
    for (const [id, isThere] of rows) {
      if (!isThere) continue;
      report.streams++;
      if (listed.has(id)) continue;
      await check(store, media, { id, object: undefined, report, bounds });
    }
    if (rows.length < pageSize) return;
    from = rows.at(-1)![0];
  }
}

async function usedOf(
  store: Store,
  media: Media,
  ids: readonly string[],
  { signal }: ReconcileBounds,
): Promise<Set<string>> {
  const [{ rows }] = await store.transactions.read({ name, signal }, [
    bind(store.catalog.at("", selectAtLocation), ids, media.location),
  ]);
  return new Set(rows.map(([id]) => id));
}

interface Checked {
  id: string;
  /** The object as it was listed. */
  object: StoredObject | undefined;
  report: ReconcileMediaReport;
  bounds: ReconcileBounds;
}

/** Checks whether the stream's object, as it was listed, fits its rows. */
async function check(
  store: Store,
  media: Media,
  { id, object, report, bounds }: Checked,
): Promise<void> {
  const { signal } = bounds;
  const call = { name, streamId: id as StreamId, signal };
  const found = await findWhereabouts(store, call);
  if (found?.location !== media.location) return;
  if (isWhole(found, object) && !found.isHere) return;
  await media.turn(
    call.streamId,
    () => suspect(store, media, call, { report, bounds }),
    signal,
  );
}

/** A stream that changes during this many looks is not reported. */
const maxLooks = 5;

/** Looks at the stream in its turn, and reports what is still wrong with it. */
async function suspect(
  store: Store,
  media: Media,
  call: { name: string; streamId: StreamId; signal: AbortSignal },
  { report, bounds }: Pick<Checked, "report" | "bounds">,
): Promise<void> {
  const { streamId, signal } = call;
  for (let looks = 0; looks < maxLooks; looks++) {
    signal.throwIfAborted();
    const before = await findWhereabouts(store, call);
    if (before?.location !== media.location) return;
    const object = await media.objects.headObject(media.nameOf(streamId), {
      signal,
    });
    const found = await findWhereabouts(store, call);
    if (found?.version !== before.version) continue;
    if (found.isHere) report.inBothPlaces++;
    if (isWhole(found, object)) {
      if (!bounds.dryRun) await removeLeftovers(store, call, media);
      return;
    }
    if (object === undefined) report.missing++;
    else report.damaged++;
    noteBroken(report, streamId);
    return;
  }
}

function noteBroken(report: ReconcileMediaReport, streamId: StreamId): void {
  if (report.brokenStreams.length < maxListed) {
    report.brokenStreams.push(streamId);
  }
}

function noteUnused(
  object: StoredObject,
  { report, unused, bounds }: {
    report: ReconcileMediaReport;
    unused: StoredObject[];
    bounds: ReconcileBounds;
  },
): void {
  report.unused++;
  report.unusedBytes += object.size;
  if (report.unusedObjects.length < maxListed) {
    report.unusedObjects.push(object.name);
  }
  if (Date.now() - object.modifiedAt.getTime() < bounds.minAgeMs) {
    report.young++;
  } else if (unused.length < maxRemembered) unused.push(object);
}

async function removeUnused(
  store: Store,
  media: Media,
  { unused, report, bounds }: {
    unused: readonly StoredObject[];
    report: ReconcileMediaReport;
    bounds: ReconcileBounds;
  },
): Promise<ReconcileMediaReport> {
  const refused = refusalOf(report, bounds);
  if (refused !== undefined) return { ...report, refused };
  if (bounds.dryRun) return report;
  const { signal } = bounds;
  for (const { name: objectName, etag } of unused) {
    const streamId = objectName.slice(media.prefix.length) as StreamId;
    const remove = async () => {
      const call = { name, streamId, signal };
      if (await removeObject(store, call, media, etag)) report.deleted++;
    };
    await media.turn(streamId, remove, signal);
  }
  return report;
}

/** Why nothing may be deleted; undefined if it may. */
function refusalOf(
  { unused, young, objects, streams, missing }: ReconcileMediaReport,
  { maxDeleted }: ReconcileBounds,
): ReconcileMediaReport["refused"] {
  const candidates = unused - young;
  if (candidates === 0) return undefined;
  if (maxDeleted !== undefined) {
    return candidates > maxDeleted ? "too_many_unused" : undefined;
  }
  if (streams === 0 || missing > streams / 10) return "database_does_not_fit";
  const most = Math.max(alwaysDeletable, Math.floor(objects / 10));
  return candidates > most ? "too_many_unused" : undefined;
}
