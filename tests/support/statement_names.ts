/** Collects the statements that sessions send, and finds what they refer to. */
import type pg from "pg";
import { FrontendWriter } from "../../src/database/wire/frontend.ts";
import { baseType, type PgType } from "../../src/database/wire/types.ts";

/** Collects the statements, with their types, of all sessions of this process. */
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

/** Names that the grammar defines, so no search path can change their meaning. */
const ownToGrammar = new Set([
  ...["any", "array", "coalesce", "extract", "greatest", "least", "nullif"],
  // With several arrays it is syntax; with one it is a function.
  "unnest",
]);
const grammarTypes = new Set([
  ...["bigint", "boolean", "float", "int", "numeric", "timestamp"],
]);

/** Functions and types that a statement names without a schema. */
export function unqualifiedNames(text: string): string[] {
  const code = text.replaceAll(/"(?:[^"]|"")*"|'(?:[^']|'')*'/g, '""');
  const functions = [...code.matchAll(/(?<![.\w"])([a-z_]\w*)\(/g)]
    .map(([, name]) => name!).filter((name) => !ownToGrammar.has(name));
  const cast = [...code.matchAll(/::([a-z_]\w*)(?![.\w])/g)]
    .map(([, name]) => name!).filter((name) => !grammarTypes.has(name));
  return [...functions, ...cast];
}

/**
 * The things outside pg_catalog to which a statement refers, as `schema type
 * name`. They are the dependencies that the server records for a function with
 * the statement as its body; it records none on things of its own.
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
