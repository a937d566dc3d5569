import type { EventLog } from "./event_log.ts";
import type { LogCode } from "./log_events.ts";
import { attributes, metrics } from "./names.ts";
import type { Registry } from "./registry.ts";

/** What an instance is to its schema. */
export type OwnershipState =
  /** Its row is in, and it waits for the lock. */
  | "waiting"
  /** It waits until the owner is gone, and has done nothing. */
  | "standby"
  | "owner"
  /** It was the owner; the session with the lock broke and is made again. */
  | "recovering"
  /** It has given its ownership up, and only reads. */
  | "released"
  /** Another one owns the schema, or it was closed. */
  | "stopped";

const states: readonly OwnershipState[] = [
  "waiting",
  "standby",
  "owner",
  "recovering",
  "released",
  "stopped",
];

/** The state that an event of ownership leads to. */
const stateAfter: Partial<Record<LogCode, OwnershipState>> = {
  ownership_standby: "standby",
  ownership_taken: "owner",
  ownership_session_lost: "recovering",
  ownership_lost: "stopped",
  ownership_released: "released",
};

/** Hears what becomes of ownership: keeps its state, logs each thing once. */
export class OwnershipWatch {
  readonly #log: EventLog;
  #state: OwnershipState = "waiting";
  #since = performance.now();
  /** Before the lock session was lost. */
  #lost: OwnershipState = "waiting";
  #retries = 0;

  /** Without a registry there is nothing to own. */
  constructor(registry: Registry | undefined, log: EventLog) {
    this.#log = log;
    for (const state of states) {
      registry?.gauge(
        metrics.ownershipStatus,
        { [attributes.ownershipState]: state },
        () => Number(this.#state === state),
      );
    }
  }

  get state(): OwnershipState {
    return this.#state;
  }

  /** When the state began, in the time of `performance.now()`. */
  get since(): number {
    return this.#since;
  }

  /** The store was closed; it owns nothing any more. */
  released(): void {
    this.#become("stopped");
  }

  /** Something happened (database/ownership.ts). */
  record(
    code: LogCode,
    message: string,
    details?: Record<string, unknown>,
  ): void {
    if (code === "ownership_session_lost") this.#lost = this.#state;
    if (code === "ownership_session_back") this.#become(this.#lost);
    this.#become(stateAfter[code] ?? this.#state);
    if (code === "ownership_session_retry" && this.#retries++ > 0) return;
    if (code === "ownership_session_back") {
      details = { ...details, failedAttempts: this.#retries };
      this.#retries = 0;
    }
    this.#log.emit(code, details, message);
  }

  #become(state: OwnershipState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#since = performance.now();
  }
}
