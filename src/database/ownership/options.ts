import { schemaLockId } from "../../storage/stream_id.ts";
import type { LogCode } from "../../telemetry/log_events.ts";
import type { Home } from "../cluster/home.ts";
import { LockWait } from "../lock_holder.ts";
import type { Session } from "../session.ts";

/** What an opening does if another instance owns the schema. */
export type WhenOwned = "take" | "wait" | "fail";

/** The options for taking ownership. */
export interface OwnershipOptions {
  schema: string;
  /** The server of a cluster that has the schema; see cluster/home.ts. */
  home: Home;
  /** The name of this instance in the table. */
  instanceId: string;
  whenOwned: WhenOwned;
  /** Opens a session directly to the server; the signal gives it up. */
  connect(signal?: AbortSignal): Promise<Session>;
  /**
   * Brings the schema up to date, or checks in this session that it is; with
   * the lock, unless the schema is taken from an owner.
   */
  prepare(session: Session): Promise<void>;
  /** Milliseconds to wait after an owner was replaced. */
  startupDelayMs: number;
  /** Milliseconds of silence after which the server ends the lock session. */
  leaseMs: number;
  /** Milliseconds that no write of an owner exceeds. */
  stuckWriteMs: number;
  signal?: AbortSignal | undefined;
  /**
   * With several hosts: checks which of them the store belongs on, and ends
   * sessions with others. Never rejects.
   */
  survey?: () => Promise<unknown>;
  /** Receives events: a stable word, a text, plain data. */
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
