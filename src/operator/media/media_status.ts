/** Reports how far media streams have moved into object storage. */

import { bind, statement } from "../../database/statement.ts";
import type { Catalog } from "../../postgres/catalog.ts";
import type { StreamReaderOptions } from "../../postgres/reader_options.ts";
import { countUnmoved } from "../../postgres/sql/counts.ts";
import { printable } from "../../storage/foreign_text.ts";
import { reading } from "../reading.ts";
import { locationOf } from "../location.ts";
import type { StreamLocation } from "../status/types.ts";
import { selectReadable } from "../verify/catalogue_sql.ts";

/** Media streams that are stored in the same way. */
export interface MediaStreams {
  /** Where their blocks are. */
  location: StreamLocation;
  /** Whether they are being uploaded. */
  isEphemeral: boolean;
  /** How many. */
  streams: bigint;
}

/**
 * Tasks of one kind that failed for the same reason, or have not failed yet.
 */
export interface MediaTasks {
  /** To move a stream, to delete an object, or to keep a stream where it is. */
  task: "offload" | "delete" | "keep";
  /**
   * Why the last attempt failed; null: no attempt was made, or none has failed.
   */
  reason: string | null;
  /** How many. */
  streams: bigint;
  /** The highest number of attempts of any of these tasks. */
  attempts: bigint;
  /**
   * Milliseconds until the first of these tasks is due; 0 or less: it is due.
   */
  dueInMs: number;
  /** The stream of one of these tasks. */
  streamId: string;
}

/** What `mediaStatus` returns. */
export interface MediaStatus {
  /** Media streams, grouped by location. */
  streams: MediaStreams[];
  /**
   * Media streams, complete or not, that are in the database and have no task.
   * Undefined, like the next two, if a node has made the schema or this role
   * may not read our own tables.
   */
  unmoved: bigint | undefined;
  /** The waiting tasks, grouped by kind and reason. */
  tasks: MediaTasks[] | undefined;
  /** Changes that object storage may still execute. */
  changes: bigint | undefined;
}

const operation = "mediaStatus";

/**
 * Reports where media streams are and which tasks wait for them. It reads
 * tables only and sends nothing to the bucket.
 *
 * @throws {StreamStorageError} as `openStreamReader`.
 */
export async function mediaStatus(
  options: StreamReaderOptions,
): Promise<MediaStatus> {
  return await reading(operation, options, async (core) => {
    const { catalog, transactions, schema } = core;
    const { signal } = options;
    const context = { name: operation, signal };
    const [kinds, readable] = await transactions.read(context, [
      bind(selectMediaStreams(catalog)),
      bind(selectReadable, schema),
    ]);
    const streams = kinds.rows.map(([isEphemeral, letter, streams]) => ({
      location: locationOf(letter),
      isEphemeral,
      streams,
    }));
    const names = new Set(readable.rows.map(([name]) => name));
    if (!ownTables.every((name) => names.has(name))) {
      return {
        streams,
        unmoved: undefined,
        tasks: undefined,
        changes: undefined,
      };
    }
    const [unmoved, tasks, changes] = await transactions.read(context, [
      bind(catalog.at("m00", countUnmoved)),
      bind(selectTasks(catalog)),
      bind(countChanges(catalog)),
    ]);
    return {
      streams,
      unmoved: unmoved.rows[0]![0],
      tasks: tasks.rows.map((
        [task, reason, streams, attempts, dueInMs, streamId],
      ) => ({
        task: task as MediaTasks["task"],
        reason: reason && printable(reason, 200),
        streams,
        attempts,
        dueInMs: Math.round(dueInMs),
        streamId,
      })),
      changes: changes.rows[0]![0],
    };
  });
}

/** Absent where only a node has made the schema. */
const ownTables = [
  "stream_storage_media_tasks",
  "stream_storage_media_changes",
] as const;

const selectMediaStreams = (catalog: Catalog) =>
  statement({
    text: `SELECT ephemeral, blockdata_ext::pg_catalog.text, pg_catalog.count(*)
      FROM ${catalog.table("es")}
      WHERE stream_id COLLATE pg_catalog."C" > 'ff'
        AND stream_id COLLATE pg_catalog."C" < 'fg'
      GROUP BY 1, 2 ORDER BY 1, 2`,
    columns: ["bool", "text", "int8"],
    once: true,
  });

const selectTasks = (catalog: Catalog) =>
  statement({
    text: `SELECT task, reason, pg_catalog.count(*), pg_catalog.max(attempts),
        pg_catalog.date_part('epoch'::pg_catalog.text,
          pg_catalog.min(due_at) - pg_catalog.now()) * 1000::pg_catalog.float8,
        pg_catalog.min(stream_id)
      FROM ${catalog.table("stream_storage_media_tasks")}
      GROUP BY task, reason ORDER BY 3 DESC, 1, 2 LIMIT 100`,
    columns: ["text", "text?", "int8", "int8", "float8", "bpchar"],
    once: true,
  });

const countChanges = (catalog: Catalog) =>
  statement({
    text: `SELECT pg_catalog.count(*)
      FROM ${catalog.table("stream_storage_media_changes")}`,
    columns: ["int8"],
    once: true,
  });
