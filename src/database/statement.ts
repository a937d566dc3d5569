/**
 * SQL statements as values: the text, and the types of the parameters and of
 * the result's columns. A statement is written once and bound many times.
 */

import type { Buffer } from "node:buffer";
import { Slices } from "./slices.ts";
import { FrontendWriter } from "./wire/frontend.ts";
import {
  type Decoder,
  decoderOf,
  type PgType,
  type ValuesOf,
} from "./wire/types.ts";

/** A parameterised statement; all parameters and columns have types. */
export interface Statement<
  P extends readonly PgType[] = readonly PgType[],
  C extends readonly PgType[] = readonly PgType[],
> {
  readonly text: string;
  readonly params: P;
  readonly columns: C;
  readonly decoders: readonly Decoder[];
  /**
   * Not kept prepared, because it is rare, or its text differs from call to
   * call. A kept one takes the server 10 to 170 KB for every partition, in
   * every connection; planning it again takes 0.1 to 0.7 ms
   * (`deno task server-memory`).
   */
  readonly once: boolean;
}

/** A statement with its values, ready to be sent. */
export interface Bound<C extends readonly PgType[] = readonly PgType[]> {
  readonly statement: Statement<readonly PgType[], C>;
  readonly values: readonly unknown[];
  /** The rows of a COPY FROM STDIN. */
  readonly copy?: {
    readonly types: readonly PgType[];
    readonly rows: Iterable<readonly unknown[]>;
  };
  /** The same rows, already encoded as messages. */
  readonly encodedCopy?: readonly Buffer[];
}

/** What a statement returned. */
export interface Result<C extends readonly PgType[] = readonly PgType[]> {
  rows: ValuesOf<C>[];
  /** Rows returned or changed, from the command tag. */
  count: number;
}

/** The results of a list of bound statements, in order. */
export type ResultsOf<B extends readonly Bound[]> = {
  -readonly [K in keyof B]: B[K] extends Bound<infer C> ? Result<C> : never;
};

/**
 * Defines a statement.
 *
 * ```ts
 * const selectKind = statement({
 *   text: `SELECT ephemeral FROM ${es} WHERE stream_id = $1`,
 *   params: ["bpchar"],
 *   columns: ["bool"],
 * });
 * ```
 */
export function statement<
  const P extends readonly PgType[] = [],
  const C extends readonly PgType[] = [],
>(definition: {
  text: string;
  params?: P;
  columns?: C;
  once?: boolean;
}): Statement<P, C> {
  const columns = definition.columns ?? ([] as unknown as C);
  return {
    text: withoutIndentation(definition.text),
    params: definition.params ?? ([] as unknown as P),
    columns,
    decoders: columns.map(decoderOf),
    once: definition.once ?? false,
  };
}

/**
 * The server copies a statement's text at every execution. Quoted text stays
 * unchanged: a schema may have any name.
 */
function withoutIndentation(text: string): string {
  return text.replaceAll(
    /"(?:[^"]|"")*"|'(?:[^']|'')*'|\s+/g,
    (part) => part.trim() === "" ? " " : part,
  );
}

/** Gives a statement its values. */
export function bind<
  P extends readonly PgType[],
  C extends readonly PgType[],
>(of: Statement<P, C>, ...values: ValuesOf<P>): Bound<C> {
  return { statement: of, values };
}

/** A `COPY … FROM STDIN (FORMAT binary)` with its rows. */
export function copyIn<T extends readonly PgType[]>(
  of: Statement<[], []>,
  types: T,
  rows: Iterable<ValuesOf<T>>,
): Bound<[]> {
  return { statement: of, values: [], copy: { types, rows } };
}

/** From this many rows on, a COPY is encoded in slices. */
const manyRows = 2000;

/**
 * Does the same for any number of rows. A flush is sent in one piece, so many
 * rows are encoded beforehand, in slices: encoding them at once would block the
 * event loop.
 */
export async function copyManyIn<T extends readonly PgType[]>(
  of: Statement<[], []>,
  types: T,
  rows: readonly ValuesOf<T>[],
  slices: Slices = new Slices(),
): Promise<Bound<[]>> {
  if (rows.length < manyRows) return copyIn(of, types, rows);
  const writer = new FrontendWriter();
  writer.beginCopy();
  for (const row of rows) {
    if (slices.isOver) await slices.next();
    writer.copyRow(types, row);
  }
  writer.endCopy();
  return { statement: of, values: [], encodedCopy: writer.take() };
}
