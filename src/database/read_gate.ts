/** Keeps reads away from tables that another session has locked. */

/** Another session has locked the table; nothing was sent. */
export class LockedTableError extends Error {
  override readonly name = "LockedTableError";
  /** The server's own code for this, lock_not_available. */
  readonly code = "55P03";

  constructor() {
    super("Another session has locked its table");
  }
}

/** The check that a read passes before it takes a session. */
export interface ReadGate {
  /** Whether reads of the stream would wait on the server. */
  isShut(streamId: string): boolean;
  /**
   * Waits until reads of the stream would no longer wait.
   *
   * @throws {LockedTableError} `until`, in the time of `performance.now()`, has
   *   passed; the signal's reason.
   */
  wait(
    streamId: string,
    until: number,
    signal: AbortSignal | undefined,
  ): Promise<void>;
  /** Called when a read has met a lock; resolves when the gate knows it. */
  met(): Promise<void>;
  /** Milliseconds that a read waits at most, within its deadline. */
  maxWaitMs: number;
}
