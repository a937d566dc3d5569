/** Records which session of this process ran which statements. */

import { PreparedStatements } from "../../src/database/prepared_statements.ts";
import { Session } from "../../src/database/session.ts";
import type { Bound, Statement } from "../../src/database/statement.ts";

/** A statement that each partition has. */
export interface Kind {
  /** Its text, with a placeholder for the partition. */
  text: string;
  /** The statement of each partition, by its text. */
  statements: Map<string, Statement>;
  runs: number;
}

/** Records what the sessions of this process run. */
export class Uses {
  readonly kinds = new Map<string, Kind>();
  /**
   * The texts that each session keeps or has kept prepared, by the session's
   * process.
   */
  readonly #prepared = new Map<number, Set<string>>();
  /** What each session did: the kinds of its first statements. */
  readonly #schema: string;

  /** How often a statement was prepared. */
  prepared = 0;

  /** Records from now on. */
  constructor(schema: string) {
    this.#schema = schema;
    const seen = (session: Session, bound: readonly Bound[]) =>
      this.#saw(session.processId, bound);
    const { add } = PreparedStatements.prototype;
    const counted = () => this.prepared++;
    PreparedStatements.prototype.add = function (text) {
      counted();
      return add.call(this, text);
    };
    const { run } = Session.prototype;
    Session.prototype.run = function (this: Session, bound, withinMs) {
      seen(this, bound);
      return run.call(this, bound, withinMs) as never;
    };
  }

  /** Counts the statements that the session has prepared since it began. */
  preparedBy(processId: number): number {
    return this.#prepared.get(processId)?.size ?? 0;
  }

  #saw(processId: number, bound: readonly Bound[]): void {
    let texts = this.#prepared.get(processId);
    if (texts === undefined) this.#prepared.set(processId, texts = new Set());
    for (const { statement } of bound) {
      const kind = this.#kindOf(statement.text);
      kind.runs++;
      kind.statements.set(statement.text, statement);
      if (!statement.once) texts.add(statement.text);
    }
  }

  #kindOf(statementText: string): Kind {
    const text = statementText
      .replaceAll(this.#schema, "s")
      .replace(/_[rm][0-9a-f]{2}"/g, '_*"');
    let kind = this.kinds.get(text);
    if (kind === undefined) {
      kind = { text, statements: new Map(), runs: 0 };
      this.kinds.set(text, kind);
    }
    return kind;
  }
}
