import { partitionSuffixes } from "../../src/database/migrations/plan.ts";
import { quoteIdentifier } from "../../src/database/migrations/sql_text.ts";

/** SQL that removes every stream of a schema and leaves the owner alone. */
export function emptyTables(schema: string, partitions: number): string {
  const names = ["es", "stream_storage_ephemeral"];
  for (const suffix of partitionSuffixes(partitions)) {
    for (const kind of ["miniblocks", "minipools", "miniblock_candidates"]) {
      names.push(`${kind}_${suffix}`);
    }
  }
  return names.map((name) => `DELETE FROM ${quoteIdentifier(schema)}.${name}`)
    .join("; ");
}
