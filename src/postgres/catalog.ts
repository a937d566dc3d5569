/**
 * Which tables hold a stream, and the statements over them. A stream's rows are
 * in the partition that its id hashes to, as with the existing nodes. So each
 * statement exists once per partition, and is made when first used.
 */

import { quoteIdentifier } from "../database/migrations/sql_text.ts";
import { partitionSuffix, type StreamId } from "../storage/stream_id.ts";
import { BoundedMap } from "./bounded_map.ts";

/**
 * Which of our own tables a schema has. A store has migrated them. A reader may
 * meet a schema that only nodes have written, or one of an older release, whose
 * rows do not say which incarnation of a stream they are about.
 */
export type OwnTables = "absent" | "older" | "current";

/** Quoted, schema-qualified names of the tables that hold a stream. */
export interface StreamTables {
  /** The partition: `r3f`, `m00`. */
  suffix: string;
  /** Whether our own tables exist. */
  own: OwnTables;
  /** The table of the schema's owner; see database/ownership.ts. */
  owner: string;
  streams: string;
  miniblocks: string;
  minipools: string;
  candidates: string;
  /** Our own: when the age of ephemeral streams starts. */
  ephemeralAges: string;
  /** Our own: the latest snapshots at which streams were trimmed. */
  trimmingMarks: string;
  /** Our own: how far the workers have come. */
  workers: string;
  /** Which bytes of an object are which block; media partitions only. */
  external: string;
  /** Our own: what `external` has no place for. */
  mediaBlocks: string;
  /** Our own: streams to move into object storage, objects to delete there. */
  mediaTasks: string;
  /** Our own: changes of objects that may still be executed. */
  mediaChanges: string;
  /** Our own: deleted streams with rows that are left. */
  deletions: string;
}

/** Returns the quoted, qualified name of a table. */
export type NameTable = (name: string) => string;

/** Makes something, mostly a statement, for a partition's tables. */
export type Template<T> = (tables: StreamTables) => T;

/** The tables and statements of one schema. */
export class Catalog {
  readonly #schema: string;
  readonly #partitions: number;
  readonly #tables = new Map<string, StreamTables>();
  readonly #made = new Map<Template<unknown>, Map<string, unknown>>();
  /** Partitions of streams in use: hashing takes longer than the lookup. */
  readonly #suffixes = new BoundedMap<StreamId, string>(20_000);

  readonly #nameTable: NameTable;

  #own: OwnTables;

  /** On a cluster, tables have other names, which `nameTable` returns. */
  constructor(
    schema: string,
    partitions: number,
    own: OwnTables = "current",
    nameTable: NameTable = (name) =>
      `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`,
  ) {
    this.#schema = schema;
    this.#partitions = partitions;
    this.#own = own;
    this.#nameTable = nameTable;
  }

  /** The schema's name, not quoted. */
  get schema(): string {
    return this.#schema;
  }

  /** Which of our own tables the schema has, as far as is known. */
  get own(): OwnTables {
    return this.#own;
  }

  /**
   * Drops all statements, which depend on these tables. To be called when a
   * migration has changed them, or they are known for the first time.
   */
  set own(own: OwnTables) {
    if (own === this.#own) return;
    this.#own = own;
    this.#tables.clear();
    this.#made.clear();
  }

  /** The number of partitions of each kind. */
  get partitions(): number {
    return this.#partitions;
  }

  /** The quoted, qualified name of a table that has no partitions. */
  table(name: string): string {
    return this.#nameTable(name);
  }

  /** The tables that hold the stream. */
  tablesOf(streamId: StreamId): StreamTables {
    return this.tablesAt(this.#suffixOf(streamId));
  }

  /** The tables of a partition. */
  tablesAt(suffix: string): StreamTables {
    let tables = this.#tables.get(suffix);
    if (tables === undefined) {
      tables = {
        suffix,
        own: this.#own,
        owner: this.table("singlenodekey"),
        streams: this.table("es"),
        miniblocks: this.table(`miniblocks_${suffix}`),
        minipools: this.table(`minipools_${suffix}`),
        candidates: this.table(`miniblock_candidates_${suffix}`),
        ephemeralAges: this.table("stream_storage_ephemeral"),
        trimmingMarks: this.table("stream_storage_trimming"),
        workers: this.table("stream_storage_workers"),
        external: this.table(`miniblocks_ext_${suffix}`),
        mediaBlocks: this.table("stream_storage_media_blocks"),
        mediaTasks: this.table("stream_storage_media_tasks"),
        mediaChanges: this.table("stream_storage_media_changes"),
        deletions: this.table("stream_storage_deletions"),
      };
      this.#tables.set(suffix, tables);
    }
    return tables;
  }

  /** What the template makes for the stream's partition; made once. */
  of<T>(streamId: StreamId, template: Template<T>): T {
    return this.at(this.#suffixOf(streamId), template);
  }

  /** What the template makes for a partition; made once. */
  at<T>(suffix: string, template: Template<T>): T {
    let perPartition = this.#made.get(template);
    if (perPartition === undefined) {
      perPartition = new Map();
      this.#made.set(template, perPartition);
    }
    let made = perPartition.get(suffix) as T | undefined;
    if (made === undefined) {
      made = template(this.tablesAt(suffix));
      perPartition.set(suffix, made);
    }
    return made;
  }

  #suffixOf(streamId: StreamId): string {
    const known = this.#suffixes.get(streamId);
    if (known !== undefined) return known;
    const suffix = partitionSuffix(streamId, this.#partitions);
    this.#suffixes.set(streamId, suffix);
    return suffix;
  }
}
