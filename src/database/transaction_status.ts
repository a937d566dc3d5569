/**
 * Whether a session is inside a transaction: what the server says with every
 * ReadyForQuery, held against what we have asked it for.
 *
 * A flush is committed at its Sync only outside of a transaction block. A proxy
 * may have opened one on the session without our knowledge (pgpool-II does):
 * then every statement succeeds, every answer comes, and nothing is ever stored.
 * The server tells by one letter, and nothing that comes with it may be believed
 * if that is not the expected one.
 *
 * What is expected follows from the command tags: BEGIN of ours opens a block,
 * COMMIT closes it, and ROLLBACK does, unless it went back to a savepoint. What was
 * refused may have been the COMMIT itself, which closes a block as well.
 */

import type { Buffer } from "node:buffer";

/** The session is inside a transaction that nobody here has begun. */
export class OpenTransactionError extends Error {
  override readonly name = "OpenTransactionError";

  constructor() {
    super(
      "Expected a session outside of a transaction, found it inside of one: " +
        "a pooler or proxy on the way has begun it",
    );
  }
}

/** What a command tag does to the block: opens it, or closes it, or maybe. */
const effects: ReadonlyMap<string, boolean | undefined> = new Map([
  ["BEGIN", true],
  ["START TRANSACTION", true],
  ["COMMIT", false],
  ["ROLLBACK", undefined],
]);

const letter = {
  B: 0x42,
  C: 0x43,
  E: 0x45,
  I: 0x49,
  R: 0x52,
  S: 0x53,
  T: 0x54,
};

/** See the file's head. */
export class TransactionStatus {
  /** Whether a block is open; undefined where only the server knows. */
  #isOpen: boolean | undefined = false;

  /** Takes the tag of a command that was completed. */
  completed(bytes: Buffer, start: number, end: number): void {
    // As a rule that is all: SELECT, INSERT, UPDATE, DELETE.
    switch (bytes[start]) {
      case letter.B:
      case letter.C:
      case letter.R:
        break;
      case letter.S:
        if (bytes[start + 1] === letter.T) break;
        return;
      default:
        return;
    }
    const tag = bytes.toString("latin1", start, end);
    if (effects.has(tag)) this.#isOpen = effects.get(tag);
  }

  /** A command was refused. */
  refused(): void {
    if (this.#isOpen === true) this.#isOpen = undefined;
  }

  /**
   * Takes the body of a ReadyForQuery.
   *
   * @throws {OpenTransactionError}
   * @throws {RangeError} no such status, or a block of ours is gone.
   */
  ready(bytes: Buffer, start: number, end: number): void {
    const status = bytes[start];
    const isOpen = status === letter.T || status === letter.E;
    if (end - start !== 1 || (!isOpen && status !== letter.I)) {
      throw new RangeError("Expected the status of a transaction: I, T or E");
    }
    if (isOpen && this.#isOpen === false) throw new OpenTransactionError();
    if (!isOpen && this.#isOpen === true) {
      throw new RangeError("Expected the transaction to be open still");
    }
    this.#isOpen = isOpen;
  }
}
