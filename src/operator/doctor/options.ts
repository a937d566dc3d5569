/** What a doctor is asked, and answers. */

import type { ServerOptions } from "../session.ts";
import type { Diagnosis } from "./diagnosis.ts";

/** What `doctor` needs to know. */
export interface DoctorOptions extends ServerOptions {
  /** The store's schema. Default: the database's only store; else none. */
  schema?: string;
  /**
   * The sum of `maxConnections` of all stores on this server. Default: 10, as
   * `openStreamStorage` has it, for each store of the database.
   */
  maxConnections?: number;
}

/** What `doctor` has found. */
export interface DoctorReport {
  /** The schema that was looked at; null: none. */
  schema: string | null;
  /** Schemas of the database that look like stores. */
  stores: string[];
  /** In the order of the checks. */
  diagnoses: Diagnosis[];
  /** How many of them are `fail`. */
  failures: number;
  /** How many of them are `warn`. */
  warnings: number;
}
