import { schemaLockId } from "../../storage/stream_id.ts";
import type { LogCode } from "../../telemetry/log_events.ts";
import type { Home } from "../cluster/home.ts";
import { LockWait } from "../lock_holder.ts";
import type { Session } from "../session.ts";

/** What an opening does with a schema that another instance owns. */
export type WhenOwned = "take" | "wait" | "fail";

/** How ownership is taken. */
export interface OwnershipOptions {
  schema: string;
  /** On which server of a cluster the schema is; see cluster/home.ts. */
  home: Home;
  /** Names this instance in the table. */
  instanceId: string;
  whenOwned: WhenOwned;
  /** A session of its own, directly to the server; the signal gives it up. */
  connect(signal?: AbortSignal): Promise<Session>;
  /**
   * Brings the schema up to date, or looks by this session that it is; unless the
   * schema is to be taken, with the lock.
   */
  prepare(session: Session): Promise<void>;
  /** Milliseconds to wait after an owner had to be replaced. */
  startupDelayMs: number;
  /** Milliseconds of silence after which the server ends the lock session. */
  leaseMs: number;
  /** Milliseconds that no write of an owner takes. */
  stuckWriteMs: number;
  signal?: AbortSignal | undefined;
  /**
   * With several hosts: looks which of them is the place to be, and ends sessions
   * with others. Never rejects.
   */
  survey?: () => Promise<unknown>;
  /** Hears what happens: a stable word, a text, plain data. */
  onEvent(
    code: LogCode,
    message: string,
    details?: Record<string, unknown>,
  ): void;
}

/** A wait for the owner's lock. */
export function lockWait(
  { schema, onEvent }: Pick<OwnershipOptions, "schema" | "onEvent">,
): LockWait {
  return new LockWait({ schema, key: schemaLockId(schema), onEvent });
}
