/**
 * The fence in SQL: what stops the writes of a former owner. ownership.ts says
 * what it proves.
 */

import { rejectSql } from "./rejection.ts";
import { statement } from "./statement.ts";

/** The reason of the rejection when the fence is closed. */
export const notOwnerReason = "not_owner";

/** Whose row it is: a name and a time. */
export const ownerParams = ["varchar", "timestamp"] as const;

/** Whether a row is the owner's, parameters $`at` and the next. */
export const isOwnerSql = (at: number): string =>
  `uuid = $${at} AND storage_connection_time = $${at + 1}`;

/**
 * SQL that is false while the row of the owner, parameters $`at` and the next,
 * is the only one in the table, and that keeps it there until the transaction
 * has ended. As little as possible: it is a part of every write, and one look
 * that takes in all rows costs less than one for the owner's and one for others.
 */
export function notOwnerSql(table: string, at: number): string {
  return `ARRAY(SELECT ${isOwnerSql(at)} FROM ${table} FOR SHARE) <> '{t}'`;
}

/** Stops the transaction unless the owner's row is the only one. */
export const fence = (table: string) =>
  statement({
    text: `SELECT CASE WHEN ${notOwnerSql(table, 1)}
      THEN ${rejectSql(notOwnerReason)} END`,
    params: ownerParams,
    columns: ["int4?"],
  });
