import { StreamStorageError } from "../storage/errors.ts";
import { printable } from "../storage/foreign_text.ts";

/** What is wrong with a reply, or that there was none. */
export interface ReplyFaultInit {
  /** A stable snake_case word. */
  reason: string;
  /** Whether the same request may succeed next time. */
  retryable: boolean;
  status?: number;
  /** The store's error code, such as `NoSuchKey`. */
  providerCode?: string;
  /** How long the store asks the client to wait. */
  retryAfterMs?: number;
  /** More plain data. */
  details?: Record<string, unknown>;
}

/**
 * A request that was not answered as requested. It holds codes and figures
 * only: the runtime's own errors quote addresses, which may carry a token.
 */
export class ReplyFault extends Error {
  override readonly name = "ReplyFault";
  readonly init: ReplyFaultInit;

  constructor(init: ReplyFaultInit) {
    super(init.reason);
    this.init = init;
  }

  /** Whether the store says that no object of this name exists. */
  get isMissingObject(): boolean {
    return this.init.reason === "object_missing";
  }

  /** Converts the fault to the error that the storage's callers see. */
  toStorageError(
    what: { provider: string; action: string; object?: string },
  ): StreamStorageError {
    const { reason, retryable, status, providerCode, details } = this.init;
    // A listing may contain names that others have chosen.
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
