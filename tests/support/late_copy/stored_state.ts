/** Everything that a schema stores, as text to compare. */
import {
  quoteIdentifier,
  quoteLiteral,
} from "../../../src/database/migrations/sql_text.ts";
import type { Session } from "../../../src/database/session.ts";

/** The owner's row changes with every re-fence, so it is not compared. */
const OWNERS_TABLE = "singlenodekey";

interface Table {
  name: string;
  /** The quoted name, with its schema. */
  sql: string;
  /** Whether it had rows before any stream was written. */
  isFilled: boolean;
}

/** Reads and empties the tables of one schema. */
export class StoredState {
  readonly #session: Session;
  readonly #vacuum: string;

  private constructor(session: Session, tables: readonly Table[]) {
    this.#session = session;
    this.#vacuum = `VACUUM ${
      tables.filter(({ isFilled }) => !isFilled).map(({ sql }) => sql)
    }`;
  }

  /**
   * Opens it. Must be called before any stream is written, because tables that
   * already have rows are never emptied.
   */
  static async open(session: Session, schema: string): Promise<StoredState> {
    const rows = await session.script(
      `SELECT relname FROM pg_class
      WHERE relnamespace = ${quoteLiteral(schema)}::regnamespace
        AND relkind = 'r' AND relname <> ${quoteLiteral(OWNERS_TABLE)}
      ORDER BY relname`,
    );
    const tables: Table[] = [];
    for (const [name] of rows) {
      const sql = `${quoteIdentifier(schema)}.${quoteIdentifier(name!)}`;
      const found = await session.script(`SELECT count(*) FROM ${sql}`);
      tables.push({ name: name!, sql, isFilled: found[0]![0] !== "0" });
    }
    await session.script(prepareSql(tables));
    return new StoredState(session, tables);
  }

  /** A line for each row of each table, sorted. */
  async lines(): Promise<string[]> {
    const rows = await this.#session.script("EXECUTE look");
    return rows.map(([line]) => line!).sort();
  }

  /** Removes every stream without the store's knowledge. */
  async empty(): Promise<void> {
    await this.#session.script("EXECUTE empty");
  }

  /** Frees the space of removed rows, so that reads stay fast. */
  async vacuum(): Promise<void> {
    await this.#session.script(this.#vacuum);
  }
}

/** Each statement runs thousands of times, and planning would cost more. */
function prepareSql(tables: readonly Table[]): string {
  const looks = tables.map(({ name, sql }) =>
    `SELECT ${quoteLiteral(name)} || ' ' || left(row::text, 200) || ' ' ||
      md5(row::text) FROM ${sql} AS row`
  );
  const deletions = tables.filter(({ isFilled }) => !isFilled)
    .map(({ sql }, i) => `deleted_${i} AS (DELETE FROM ${sql})`);
  return `PREPARE look AS ${looks.join(" UNION ALL ")};
    PREPARE empty AS WITH ${deletions.join(", ")} SELECT`;
}

/** The lines that are gone, with a minus, and new ones, with a plus. */
export function changesOf(before: string[], after: string[]): string[] {
  const [old, now] = [new Set(before), new Set(after)];
  return [
    ...before.filter((line) => !now.has(line)).map((line) => `- ${line}`),
    ...after.filter((line) => !old.has(line)).map((line) => `+ ${line}`),
  ];
}
