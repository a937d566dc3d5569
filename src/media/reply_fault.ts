import { StreamStorageError } from "../storage/errors.ts";
import { printable } from "../storage/foreign_text.ts";

/** What is wrong with a reply, or that there was none. */
export interface ReplyFaultInit {
  /** A stable snake_case word. */
  reason: string;
  /** Whether the same request may be answered well the next time. */
  retryable: boolean;
  status?: number;
  /** The store's own word, as `NoSuchKey`. */
  providerCode?: string;
  /** How long the store asks us to wait. */
  retryAfterMs?: number;
  /** More plain data. */
  details?: Record<string, unknown>;
}

/**
 * A request that was not answered as asked. Holds words and figures only: the
 * runtime's own errors quote addresses, and those may carry a token.
 */
export class ReplyFault extends Error {
  override readonly name = "ReplyFault";
  readonly init: ReplyFaultInit;

  constructor(init: ReplyFaultInit) {
    super(init.reason);
    this.init = init;
  }

  /** Says that no object of this name is there. */
  get isMissingObject(): boolean {
    return this.init.reason === "object_missing";
  }

  /** As the storage's callers see it. */
  toStorageError(
    what: { provider: string; action: string; object?: string },
  ): StreamStorageError {
    const { reason, retryable, status, providerCode, details } = this.init;
    // A listing tells names that others have given.
    const object = what.object === undefined
      ? ""
      : ` ${printable(what.object, 200)}`;
    return new StreamStorageError({
      code: this.isMissingObject
        ? "MINIBLOCKS_NOT_FOUND"
        : "DOWNSTREAM_NETWORK_ERROR",
      message: `Object storage failed to ${what.action}${object}: ` +
        reason.replaceAll("_", " ") +
        (status === undefined ? "" : `, status ${status}`) +
        (providerCode === undefined ? "" : `, ${providerCode}`),
      details: {
        reason,
        ...what,
        ...details,
        ...(status === undefined ? {} : { status }),
        ...(providerCode === undefined ? {} : { providerCode }),
      },
      retryable,
    });
  }
}
