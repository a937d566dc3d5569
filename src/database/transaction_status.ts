/**
 * Whether a session is inside a transaction: what the server says with every
 * ReadyForQuery, compared with what we have asked for.
 *
 * A flush is committed at its Sync only outside of a transaction block. A proxy
 * may have opened one on the session without our knowledge (pgpool-II does):
 * then every statement succeeds, every answer comes, and nothing is ever
 * stored. The server shows it by one letter; if that is not the expected one,
 * nothing that came with it may be trusted.
 *
 * Command tags give the expected state: our BEGIN opens a block, COMMIT closes
 * it, and so does ROLLBACK, unless it returns to a savepoint. A refused command
 * may have been the COMMIT itself, which closes a block as well.
 */

import type { Buffer } from "node:buffer";

/** The session is inside a transaction that nobody here has begun. */
export class OpenTransactionError extends Error {
  override readonly name = "OpenTransactionError";

  constructor() {
    super(
      "Expected a session outside of a transaction, but it is inside of one: " +
        "a pooler or proxy on the way has begun it",
    );
  }
}

/** Whether a command tag opens the block or closes it, or perhaps closes. */
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

/** See the head of this file. */
export class TransactionStatus {
  /** Whether a block is open; undefined if only the server knows. */
  #isOpen: boolean | undefined = false;

  /** Called with the tag of a completed command. */
  completed(bytes: Buffer, start: number, end: number): void {
    // The usual ones need no lookup: SELECT, INSERT, UPDATE, DELETE.
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

  /** Called when a command was refused. */
  refused(): void {
    if (this.#isOpen === true) this.#isOpen = undefined;
  }

  /**
   * Checks the body of a ReadyForQuery.
   *
   * @throws {OpenTransactionError}
   * @throws {RangeError} unknown status, or our block is gone.
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
