/** What a worker has at hand, and what it finds. */

import type pg from "pg";
import type { PostgresStreamStorage } from "../../mod.ts";
import type { Catalog } from "../../src/postgres/catalog.ts";
import type { CpuMeter } from "../server_cpu.ts";
import type { MarkSizes } from "./sizes.ts";

/** The environment variable in which the scripts of a side get their URL. */
export const urlVariable = "STREAM_STORAGE_MARKS_URL";

/** The schema of stores that are opened beside a worker's own. */
export function otherSchema(schema: string): string {
  return `${schema}_other`;
}

/** A store of one checkout, on a schema of its own. */
export interface Place {
  readonly storage: PostgresStreamStorage;
  /** Closes the store and opens it again, on the schema that is there. */
  reopen(): Promise<Figures>;
  url: string;
  /** A connection that does not go through the store. */
  direct: pg.Client;
  /** Undefined where the server's processes can't be seen. */
  serverCpu: CpuMeter | undefined;
  /** Knows the names of the tables. */
  catalog: Catalog;
  /**
   * Opens another store, on another schema; the caller closes it. By the name,
   * the server knows the store's connections.
   */
  openAnother(): Promise<
    { storage: PostgresStreamStorage; applicationName: string }
  >;
  sizes: MarkSizes;
}

/** The result of one measurement, by the names of the figures. */
export type Figures = Record<string, number>;

/** Measures for about so many seconds. */
export type Measure = (seconds: number) => Promise<Figures>;

/** Puts in place what a row needs. */
export type PrepareRow = (place: Place) => Promise<Measure>;
