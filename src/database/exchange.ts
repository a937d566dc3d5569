/** One question to the server, and its answer so far. */

import type { PgError } from "./pg_error.ts";
import type { NamedStatement } from "./prepared_statements.ts";
import type { Bound, Result } from "./statement.ts";
import type { Decoder } from "./wire/types.ts";

/**
 * The limit of an answer. Reads are paged and far below it; a server that sends
 * rows for ever would fill the memory before the answer's time is up.
 */
const maxAnswerBytes = 1024 * 1024 * 1024;

/** The cost of a row or a result in addition to its bytes. */
const overheadBytes = 128;

/** What was asked. */
export interface Question {
  /** The statements; undefined for a script, which may have any number. */
  bound: readonly Bound[] | undefined;
  /** The name of each statement, "" for an unnamed one. */
  names: readonly string[];
  /** The statements that a section of its own parses first. */
  parses: readonly NamedStatement[] | undefined;
  /** Milliseconds to wait for each part of the answer. */
  withinMs: number;
}

/** Collects an answer; rejects with the error that ended it. */
export class Exchange {
  readonly question: Question;
  readonly answer: Promise<Result[]>;
  /** Whether the section that parses new statements is still unanswered. */
  isPreparing: boolean;
  error: PgError | undefined;
  /** Whether it was committed, but on no standby. */
  isUnreplicated = false;
  readonly resolve: (results: Result[]) => void;
  readonly reject: (error: unknown) => void;
  readonly #results: Result[] = [];
  #rows: unknown[] = [];
  #bytes = 0;
  #parsed = 0;

  constructor(question: Question) {
    this.question = question;
    this.isPreparing = question.parses !== undefined;
    const { promise, resolve, reject } = Promise.withResolvers<Result[]>();
    this.answer = promise;
    this.resolve = resolve;
    this.reject = reject;
  }

  /** The decoders of the present rows; undefined: as text. */
  get decoders(): readonly Decoder[] | undefined {
    return this.question.bound?.[this.#results.length]?.statement.decoders;
  }

  /** The statement whose answer comes now; -1 before the first. */
  get index(): number {
    return this.isPreparing ? -1 : this.#results.length;
  }

  /** The prepared statement that the server did not know, if it refused one. */
  get failed(): NamedStatement | undefined {
    const { bound, names } = this.question;
    const { index } = this;
    const text = bound?.[index]?.statement.text;
    return text === undefined ? undefined : { name: names[index]!, text };
  }

  row(values: unknown[], bytes: number): void {
    this.#weigh(bytes);
    this.#rows.push(values);
  }

  /** Called when a statement is done; `count` is from its command tag. */
  completed(count: number): void {
    const { bound } = this.question;
    if (bound === undefined) this.#weigh(0);
    else if (this.#results.length >= bound.length) throw this.#unexpected();
    this.#results.push({ rows: this.#rows as never, count });
    this.#rows = [];
  }

  /** Called when a statement was parsed. */
  parsed(): void {
    if (this.isPreparing) this.#parsed++;
  }

  /** Called after the parsing section's answer; returns what was not parsed. */
  prepared(): readonly NamedStatement[] {
    this.isPreparing = false;
    const { parses = [] } = this.question;
    return this.error === undefined ? [] : parses.slice(this.#parsed);
  }

  /** All results, for when the server has finished. */
  get results(): Result[] {
    const { bound } = this.question;
    const isAll = bound === undefined || bound.length === this.#results.length;
    if (!isAll || this.#rows.length > 0) throw this.#unexpected();
    return this.#results;
  }

  #weigh(bytes: number): void {
    this.#bytes += bytes + overheadBytes;
    if (this.#bytes > maxAnswerBytes) {
      throw new RangeError(
        `Expected an answer of at most ${maxAnswerBytes} bytes`,
      );
    }
  }

  #unexpected(): RangeError {
    return new RangeError(
      `Expected the results of ${this.question.bound?.length} statements, ` +
        `got ${this.#results.length}`,
    );
  }
}
