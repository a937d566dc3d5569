/**
 * How much the server may keep prepared for all sessions of a store together.
 *
 * Each partition has a statement of each kind, and the server keeps 10 to 170 KB
 * for one: hundreds of megabytes in every session at 256 partitions. So the budget
 * closes the least recently used statements, in whatever session they are. The next
 * use of a closed statement costs the server a new plan, 0.1 to 0.7 ms.
 *
 * While the budget is used up, the first use of a statement is sent without a name.
 * The statement is prepared only if its last use is more recent than that of the
 * statement closed last. Otherwise work that visits each partition once would drive
 * out the statements that are in constant use.
 */

/** A statement that the server keeps, or is just about to. */
export interface Prepared {
  readonly name: string;
  readonly text: string;
  /** The bytes that the server keeps for it, estimated. */
  readonly bytes: number;
  readonly of: BudgetMember;
  /** The number of its last use. */
  usedAt: number;
}

/** What a session keeps prepared. */
export interface BudgetMember {
  all(): Iterable<Prepared>;
  /** Closes statements, to make room. */
  close(prepared: readonly Prepared[]): void;
}

/**
 * The share that stays when room is made. More than is needed is closed at a time,
 * because the search takes a millisecond, and each session gets a message.
 */
const keptShare = 15 / 16;

/** See the file's head. */
export class PreparedBudget {
  readonly #maxBytes: number;
  readonly #members = new Set<BudgetMember>();
  #bytes = 0;
  #uses = 0;
  #runBegan = 0;
  /** The last use of the statement that was closed last. */
  #goneAt = 0;

  constructor(maxBytes = 64 * 1024 * 1024) {
    this.#maxBytes = maxBytes;
  }

  /** The bytes that the server keeps, estimated. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds a session that keeps statements. */
  enter(member: BudgetMember): void {
    this.#members.add(member);
  }

  /** Removes a session that has ended. */
  leave(member: BudgetMember): void {
    this.#members.delete(member);
  }

  /** Begins a run: nothing that it uses is closed for its own statements. */
  beginRun(): void {
    this.#runBegan = this.#uses;
  }

  /** Counts a use, and returns its number. */
  used(): number {
    return ++this.#uses;
  }

  /**
   * Whether there is room for so many bytes, or the statement, last used at
   * `before`, was used more recently than the one closed last.
   */
  admits(bytes: number, before: number | undefined): boolean {
    return this.#bytes + bytes <= this.#maxBytes ||
      (before !== undefined && before > this.#goneAt);
  }

  /** Adds the bytes of a new statement; closes others if there is no room. */
  took(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#maxBytes) this.#makeRoom();
  }

  /** Subtracts the bytes of a closed statement. */
  freed(bytes: number): void {
    this.#bytes -= bytes;
  }

  #makeRoom(): void {
    const old = [...this.#members].flatMap((member) => [...member.all()])
      .filter(({ usedAt }) => usedAt <= this.#runBegan)
      .sort((a, b) => a.usedAt - b.usedAt);
    let excess = this.#bytes - this.#maxBytes * keptShare;
    const closed = new Map<BudgetMember, Prepared[]>();
    for (const prepared of old) {
      if (excess <= 0) break;
      excess -= prepared.bytes;
      this.#goneAt = prepared.usedAt;
      const list = closed.get(prepared.of);
      if (list === undefined) closed.set(prepared.of, [prepared]);
      else list.push(prepared);
    }
    for (const [member, prepared] of closed) member.close(prepared);
  }
}
