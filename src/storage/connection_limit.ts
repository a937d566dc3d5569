import { StreamStorageError } from "./errors.ts";

/**
 * Connections that stores of one process share: given to each of them as
 * `connectionLimit`, it bounds their sum, whatever their own `maxConnections` are.
 * Each store keeps one for its owner and one for each kind of work, which is 3, or 4
 * from `maxConnections: 5` on, and a reader keeps 1; the others go to who needs
 * them. A store for which there is no room is not opened: `RESOURCE_EXHAUSTED`,
 * `connection_limit`.
 *
 * ```ts
 * import { ConnectionLimit, openStreamStorage } from "@towns/stream-storage";
 *
 * const connectionLimit = new ConnectionLimit(60);
 * await using storage = await openStreamStorage({
 *   url,
 *   schema,
 *   connectionLimit,
 * });
 * ```
 */
export class ConnectionLimit {
  /** Connections at most. */
  readonly max: number;

  /**
   * A bound of its own.
   *
   * @throws {StreamStorageError} BAD_CONFIG: not a whole number of 1 or more.
   */
  constructor(max: number) {
    if (!Number.isSafeInteger(max) || max < 1) {
      throw new StreamStorageError({
        code: "BAD_CONFIG",
        operation: "ConnectionLimit",
        message: "Connections at most must be a whole number of 1 or more",
        details: { reason: "bad_options" },
      });
    }
    this.max = max;
  }
}
