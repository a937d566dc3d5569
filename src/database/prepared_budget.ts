/**
 * How much the server may keep prepared for all sessions of a store together.
 *
 * There is a statement of each kind for each partition, and the server keeps 10 to
 * 170 KB for it: with 256 partitions hundreds of megabytes in every session. So
 * the statements that were not used for longest are closed, in whatever session
 * they are. Who uses one again pays for a new plan, 0.1 to 0.7 ms.
 *
 * While the room is full, a statement that is used for the first time is sent
 * without a name. It is prepared when it is used again before what was closed last
 * would have been: else work that comes once to each partition would drive out
 * what is used all the time.
 */

/** A statement that the server keeps, or is just about to. */
export interface Prepared {
  readonly name: string;
  readonly text: string;
  /** About what the server keeps for it. */
  readonly bytes: number;
  readonly of: BudgetMember;
  /** The number of its last use. */
  usedAt: number;
}

/** What a session keeps prepared. */
export interface BudgetMember {
  all(): Iterable<Prepared>;
  /** These have to make room. */
  close(prepared: readonly Prepared[]): void;
}

/**
 * What stays when there has to be room: looking for what is old takes a
 * millisecond, and closing is a message to each session.
 */
const keptShare = 15 / 16;

/** See the file's head. */
export class PreparedBudget {
  readonly #maxBytes: number;
  readonly #members = new Set<BudgetMember>();
  #bytes = 0;
  #uses = 0;
  #runBegan = 0;
  /** The last use of what had to go last. */
  #goneAt = 0;

  constructor(maxBytes = 64 * 1024 * 1024) {
    this.#maxBytes = maxBytes;
  }

  /** About what the server keeps. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A session keeps statements. */
  enter(member: BudgetMember): void {
    this.#members.add(member);
  }

  /** It keeps none any more. */
  leave(member: BudgetMember): void {
    this.#members.delete(member);
  }

  /** What is used from now on, until the next run, has to stay. */
  beginRun(): void {
    this.#runBegan = this.#uses;
  }

  /** The number of a use that is just made. */
  used(): number {
    return ++this.#uses;
  }

  /**
   * Whether there is room for so much more, or what was used at `before` has more
   * right to be kept than what would have to go.
   */
  admits(bytes: number, before: number | undefined): boolean {
    return this.#bytes + bytes <= this.#maxBytes ||
      (before !== undefined && before > this.#goneAt);
  }

  /** A session keeps so much more. */
  took(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#maxBytes) this.#makeRoom();
  }

  /** A session keeps so much less. */
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
