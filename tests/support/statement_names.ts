/** Which statements were sent, and what each of them refers to. */
import type pg from "pg";
import { FrontendWriter } from "../../src/database/wire/frontend.ts";
import { baseType, type PgType } from "../../src/database/wire/types.ts";

/** The statements that any session of this process sends, with their types. */
export class SentStatements implements Disposable {
  readonly texts = new Map<string, readonly PgType[]>();
  readonly #undo: () => void;

  constructor() {
    const { texts } = this;
    const { parse, query } = FrontendWriter.prototype;
    this.#undo = () =>
      Object.assign(FrontendWriter.prototype, { parse, query });
    Object.assign(FrontendWriter.prototype, {
      parse(this: FrontendWriter, ...args: Parameters<typeof parse>) {
        texts.set(args[1], args[2]);
        return parse.apply(this, args);
      },
      query(this: FrontendWriter, text: string) {
        texts.set(text, []);
        return query.call(this, text);
      },
    });
  }

  [Symbol.dispose](): void {
    this.#undo();
  }
}

/** What the grammar makes of it, whatever is on the path. */
const ownToGrammar = new Set([
  ...["any", "array", "coalesce", "extract", "greatest", "least", "nullif"],
  // Of several arrays; of one it is a function by that name.
  "unnest",
]);
const grammarTypes = new Set([
  ...["bigint", "boolean", "float", "int", "numeric", "timestamp"],
]);

/** Functions and types that are named without their schema. */
export function unqualifiedNames(text: string): string[] {
  const code = text.replaceAll(/"(?:[^"]|"")*"|'(?:[^']|'')*'/g, '""');
  const functions = [...code.matchAll(/(?<![.\w"])([a-z_]\w*)\(/g)]
    .map(([, name]) => name!).filter((name) => !ownToGrammar.has(name));
  const cast = [...code.matchAll(/::([a-z_]\w*)(?![.\w])/g)]
    .map(([, name]) => name!).filter((name) => !grammarTypes.has(name));
  return [...functions, ...cast];
}

/**
 * What a statement refers to outside pg_catalog, by the dependencies that the
 * server writes down when it makes a function of it: `schema type name`. What is
 * PostgreSQL's own is none.
 */
export async function dependenciesOf(
  client: pg.Client,
  text: string,
  params: readonly PgType[],
): Promise<string[]> {
  await client.query("BEGIN");
  try {
    const types = params.map((type) => `pg_catalog.${baseType(type)}`);
    await client.query(
      `CREATE FUNCTION evil.statement(${types.join(", ")})
       RETURNS pg_catalog.void BEGIN ATOMIC ${text}; END`,
    );
    await client.query("SET LOCAL search_path = pg_catalog, pg_temp");
    const { rows } = await client.query(
      `SELECT DISTINCT o.schema || ' ' || o.type || ' ' || o.identity AS it
       FROM pg_depend AS d, pg_identify_object(refclassid, refobjid, 0) AS o
       WHERE d.classid = 'pg_proc'::regclass AND d.refclassid <> 0
         AND o.schema IS NOT NULL
         AND d.objid = (SELECT oid FROM pg_proc WHERE proname = 'statement'
           AND pronamespace = 'evil'::regnamespace) ORDER BY 1`,
    );
    return rows.map(({ it }) => it);
  } finally {
    await client.query("ROLLBACK");
  }
}
