import { StreamStorageError } from "./errors.ts";

/**
 * A number of connections that stores of one process share. Passed to each of
 * them as `connectionLimit`, it bounds their sum, whatever their own
 * `maxConnections` are. Each store keeps one connection for its ownership and
 * one for each kind of work, which makes 3, or 4 from `maxConnections: 5` on; a
 * reader keeps 1. The remaining connections go wherever they are needed. If
 * there is no room for a store, opening it fails: `RESOURCE_EXHAUSTED`,
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
  /** The largest number of connections. */
  readonly max: number;

  /**
   * Makes a new limit.
   *
   * @throws {StreamStorageError} BAD_CONFIG: not a whole number of 1 or more.
   */
  constructor(max: number) {
    if (!Number.isSafeInteger(max) || max < 1) {
      throw new StreamStorageError({
        code: "BAD_CONFIG",
        operation: "ConnectionLimit",
        message: "A connection limit must be a whole number of 1 or more",
        details: { reason: "bad_options" },
      });
    }
    this.max = max;
  }
}
