/** Options and report of the doctor. */

import type { ServerOptions } from "../session.ts";
import type { Diagnosis } from "./diagnosis.ts";

/** The options of `doctor`. */
export interface DoctorOptions extends ServerOptions {
  /**
   * The store's schema. Default: the database's store if there is exactly one,
   * otherwise none.
   */
  schema?: string;
  /**
   * The sum of `maxConnections` of all stores on this server. Default: for each
   * store of the database 10, the default of `openStreamStorage`.
   */
  maxConnections?: number;
}

/** The report of `doctor`. */
export interface DoctorReport {
  /** The examined schema; null: none. */
  schema: string | null;
  /** Schemas of the database that look like stores. */
  stores: string[];
  /** The results, in the order of `CheckName`. */
  diagnoses: Diagnosis[];
  /** The number of results with the level `fail`. */
  failures: number;
  /** The number of results with the level `warn`. */
  warnings: number;
}
