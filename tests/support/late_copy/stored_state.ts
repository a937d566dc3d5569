/** All that a schema stores, as text to be compared. */
import {
  quoteIdentifier,
  quoteLiteral,
} from "../../../src/database/migrations/sql_text.ts";
import type { Session } from "../../../src/database/session.ts";

/** The owner's row changes with the moment in the owner's life. */
const OWNERS_TABLE = "singlenodekey";

interface Table {
  name: string;
  /** The name with its schema, quoted. */
  sql: string;
  /** Had rows before any stream was written. */
  isFilled: boolean;
}

/** Looks at the tables of one schema, and empties them. */
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
   * To be opened before anything is written: what has rows already is no
   * stream's, and stays.
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

  /** One line for each row of each table, sorted. */
  async lines(): Promise<string[]> {
    const rows = await this.#session.script("EXECUTE look");
    return rows.map(([line]) => line!).sort();
  }

  /** Removes every stream, behind the store's back. */
  async empty(): Promise<void> {
    await this.#session.script("EXECUTE empty");
  }

  /** Frees the room of what was removed, so that looks stay fast. */
  async vacuum(): Promise<void> {
    await this.#session.script(this.#vacuum);
  }
}

/** Thousands of times each: to plan them took longer than to run them. */
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

/** What is gone, behind a minus, and what is new, behind a plus. */
export function changesOf(before: string[], after: string[]): string[] {
  const [old, now] = [new Set(before), new Set(after)];
  return [
    ...before.filter((line) => !now.has(line)).map((line) => `- ${line}`),
    ...after.filter((line) => !old.has(line)).map((line) => `+ ${line}`),
  ];
}
