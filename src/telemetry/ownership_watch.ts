import type { EventLog } from "./event_log.ts";
import type { LogCode } from "./log_events.ts";
import { attributes, metrics } from "./names.ts";
import type { Registry } from "./registry.ts";

/** What an instance is to its schema. */
export type OwnershipState =
  /** Its row is written, and it waits for the lock. */
  | "waiting"
  /** It waits until the owner is gone, and has changed nothing. */
  | "standby"
  | "owner"
  /** It was the owner; its session with the lock broke and is replaced. */
  | "recovering"
  /** It has given up its ownership, and only reads. */
  | "released"
  /** Another instance owns the schema, or this one was closed. */
  | "stopped";

const states: readonly OwnershipState[] = [
  "waiting",
  "standby",
  "owner",
  "recovering",
  "released",
  "stopped",
];

/** The state after an event of ownership. */
const stateAfter: Partial<Record<LogCode, OwnershipState>> = {
  ownership_standby: "standby",
  ownership_taken: "owner",
  ownership_session_lost: "recovering",
  ownership_lost: "stopped",
  ownership_released: "released",
};

/** Follows the events of ownership: keeps the state, logs each event once. */
export class OwnershipWatch {
  readonly #log: EventLog;
  #state: OwnershipState = "waiting";
  #since = performance.now();
  /** The state before the lock session was lost. */
  #lost: OwnershipState = "waiting";
  #retries = 0;

  /** Without a registry there is no schema to own. */
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

  /** Called when the store was closed and owns nothing any more. */
  released(): void {
    this.#become("stopped");
  }

  /** Called for every event (database/ownership.ts). */
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
