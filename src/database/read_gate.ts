/** Keeps reads from tables that another session has locked, and from sessions. */

/** Another session has locked the table; nothing was sent. */
export class LockedTableError extends Error {
  override readonly name = "LockedTableError";
  /** As the server says it: lock_not_available. */
  readonly code = "55P03";

  constructor() {
    super("Another session has locked its table");
  }
}

/** What a read passes before it takes a session. */
export interface ReadGate {
  /** Whether reads of the stream would wait on the server. */
  isShut(streamId: string): boolean;
  /**
   * Waits until they would not.
   *
   * @throws {LockedTableError} `until`, in the time of `performance.now()`, has
   *   passed; the signal's reason.
   */
  wait(
    streamId: string,
    until: number,
    signal: AbortSignal | undefined,
  ): Promise<void>;
  /** A read has met a lock: the gate knows of it when this resolves. */
  met(): Promise<void>;
  /** Milliseconds that a read waits at most, within its deadline. */
  patienceMs: number;
}
