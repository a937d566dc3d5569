/**
 * The statements that a session has prepared, by their texts.
 *
 * The server keeps a prepared statement until it is closed: a name that is
 * forgotten here would cost memory for as long as the session lives. So each
 * name is stored here, or is due to be closed, or was never parsed.
 */

import type {
  BudgetMember,
  Prepared,
  PreparedBudget,
} from "./prepared_budget.ts";
import type { Bound } from "./statement.ts";

/** A name, and what it stands for. */
export type NamedStatement = Pick<Prepared, "name" | "text">;

/** So many statements without a name are remembered. */
const maxSeen = 8192;

/** See the file's head; how many there may be is its budget's care. */
export class PreparedStatements implements BudgetMember {
  readonly #budget: PreparedBudget;
  readonly #onClosable: () => void;
  readonly #byText = new Map<string, Prepared>();
  /** Names that the server may know, but that no statement has any more. */
  #toClose: string[] = [];
  /** Of those that were sent without a name, the number of the last use. */
  readonly #seen = new Map<string, number>();
  #names = 0;

  /** Calls back when there is something to close that may wait for long. */
  constructor(budget: PreparedBudget, onClosable: () => void = () => {}) {
    this.#budget = budget;
    this.#onClosable = onClosable;
    budget.enter(this);
  }

  /** What is used or added from now on is for one run: none of it goes. */
  beginRun(): void {
    this.#budget.beginRun();
  }

  /** The name of a statement that is to be used now, if it is prepared. */
  use(text: string): string | undefined {
    const prepared = this.#byText.get(text);
    if (prepared === undefined) return undefined;
    prepared.usedAt = this.#budget.used();
    return prepared.name;
  }

  /** How many of these are prepared. */
  countOf(bound: readonly Bound[]): number {
    let count = 0;
    for (const { statement: { text } } of bound) {
      if (this.#byText.has(text)) count++;
    }
    return count;
  }

  /**
   * Names a new one; others may have to go for it, here or elsewhere. Undefined:
   * it is used too seldom for that, and has to be sent without a name.
   */
  add(text: string): string | undefined {
    const bytes = bytesOf(text);
    if (!this.#isAdmitted(text, bytes)) return undefined;
    const name = `s${++this.#names}`;
    const usedAt = this.#budget.used();
    this.#byText.set(text, { name, text, bytes, of: this, usedAt });
    this.#budget.took(bytes);
    return name;
  }

  /** There is something to be closed. */
  get isClosable(): boolean {
    return this.#toClose.length > 0;
  }

  /** The names that have to be closed, in front of what is sent next. */
  takeClosed(): string[] {
    const names = this.#toClose;
    if (names.length > 0) this.#toClose = [];
    return names;
  }

  /** The server did not come to parse these. */
  remove(unparsed: readonly NamedStatement[]): void {
    for (const { name, text } of unparsed) {
      if (this.#byText.get(text)?.name === name) this.#forget(text);
    }
  }

  /** The server does not know a name, and as a rule no other one, then. */
  lost({ name, text }: NamedStatement): void {
    // One that was not parsed has been removed already; the others are there.
    if (this.#byText.get(text)?.name === name) this.renew();
  }

  /** All have to be parsed anew: their plans, or they, may be no more. */
  renew(): void {
    for (const { name, text } of this.all()) {
      this.#toClose.push(name);
      this.#forget(text);
    }
  }

  /** The server has no session any more. */
  end(): void {
    this.#toClose = [];
    for (const { text } of this.all()) this.#forget(text);
    this.#budget.leave(this);
  }

  /** For the budget: what is here. */
  all(): Iterable<Prepared> {
    return this.#byText.values();
  }

  /** For the budget: these have to make room. */
  close(prepared: readonly Prepared[]): void {
    for (const { name, text } of prepared) {
      this.#toClose.push(name);
      this.#forget(text);
    }
    this.#onClosable();
  }

  /** Where others have to go, it must have been used since they were. */
  #isAdmitted(text: string, bytes: number): boolean {
    const before = this.#seen.get(text);
    if (this.#budget.admits(bytes, before)) {
      this.#seen.delete(text);
      return true;
    }
    if (this.#seen.size >= maxSeen) this.#seen.clear();
    this.#seen.set(text, this.#budget.used());
    return false;
  }

  #forget(text: string): void {
    const { bytes } = this.#byText.get(text)!;
    this.#byText.delete(text);
    this.#budget.freed(bytes);
  }
}

const quoted = /"(?:[^"]|"")*"/g;

/**
 * About what PostgreSQL keeps for a statement: its text, its parse tree, its
 * query and its plan. For ours it is in proportion to the text without the names
 * of tables, however long those are (a test asks the server).
 */
function bytesOf(text: string): number {
  return 4096 + 125 * text.replaceAll(quoted, "").length;
}
