/** Which session ran what: asked of every session of the process. */

import { Session } from "../../src/database/session.ts";
import type { Bound, Statement } from "../../src/database/statement.ts";

/** A statement of all partitions. */
export interface Kind {
  /** Its text without a partition. */
  text: string;
  /** Of each partition, by its text. */
  statements: Map<string, Statement>;
  runs: number;
}

/** What the sessions of the process have run. */
export class Uses {
  readonly kinds = new Map<string, Kind>();
  /** Texts that each session keeps prepared, or has kept, by its process. */
  readonly #prepared = new Map<number, Set<string>>();
  /** What each session did: the kinds of its first statements. */
  readonly #schema: string;

  /** Watches from now on. */
  constructor(schema: string) {
    this.#schema = schema;
    const seen = (session: Session, bound: readonly Bound[]) =>
      this.#saw(session.processId, bound);
    const { run } = Session.prototype;
    Session.prototype.run = function (this: Session, bound, withinMs) {
      seen(this, bound);
      return run.call(this, bound, withinMs) as never;
    };
  }

  /** Statements that the session has prepared in its life. */
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
