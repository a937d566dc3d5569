import type { TransactionContext } from "../../database/read_transactions.ts";
import { bind, type Bound, type ResultsOf } from "../../database/statement.ts";
import { isStreamStorageError } from "../../storage/errors.ts";
import type { OwnTables } from "../catalog.ts";
import { selectOwnTables } from "../sql/own_blocks.ts";
import type { ReadStore } from "../store.ts";

/** The schema was migrated, up or down, after the statement was made. */
const missing: readonly unknown[] = ["42P01", "42703"];

/** Migrations that one call survives. */
const maxTries = 3;

/**
 * Reads with a statement that joins our own tables. An operator may migrate the
 * schema at any time, so a reader reads in the same flush which of these tables
 * exist. If they are not those that the statement joins, rows would be missing,
 * so it reads again.
 */
export async function besideOwn<const B extends Bound>(
  store: ReadStore,
  context: TransactionContext,
  bound: () => B,
): Promise<ResultsOf<readonly [B]>[0]> {
  const { catalog, transactions, cache } = store;
  if (cache !== undefined) {
    const [found] = await transactions.read(context, [bound()]);
    return found;
  }
  const question = bind(selectOwnTables, catalog.schema);
  for (let tries = 1;; tries++) {
    try {
      const own = catalog.own;
      const [found, { rows: [row] }] = await transactions.read(context, [
        bound(),
        question,
      ]);
      catalog.own = row![0] as OwnTables;
      if (catalog.own === own) return found;
    } catch (error) {
      const isMissing = isStreamStorageError(error) &&
        missing.includes(error.details.sqlState);
      if (!isMissing || tries >= maxTries) throw error;
      const [{ rows: [row] }] = await transactions.read(context, [question]);
      catalog.own = row![0] as OwnTables;
    }
  }
}
