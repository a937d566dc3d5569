import type { EventLog } from "./event_log.ts";
import type { LogCode } from "./log_events.ts";
import { attributes, metrics } from "./names.ts";
import type { Registry } from "./registry.ts";

const states = [
  "waiting",
  "standby",
  "owner",
  "recovering",
  "stopped",
] as const;
type State = typeof states[number];

/** The state that an event of ownership leads to. */
const stateAfter: Partial<Record<LogCode, State>> = {
  ownership_standby: "standby",
  ownership_taken: "owner",
  ownership_session_lost: "recovering",
  ownership_lost: "stopped",
  ownership_released: "stopped",
};

/** Hears what becomes of ownership: keeps its state, logs each thing once. */
export class OwnershipWatch {
  readonly #log: EventLog;
  #state: State = "waiting";
  /** Before the lock session was lost. */
  #lost: State = "waiting";
  #retries = 0;

  constructor(registry: Registry, log: EventLog) {
    this.#log = log;
    for (const state of states) {
      registry.gauge(
        metrics.ownershipStatus,
        { [attributes.ownershipState]: state },
        () => Number(this.#state === state),
      );
    }
  }

  /** The store was closed; it owns nothing any more. */
  released(): void {
    this.#state = "stopped";
  }

  /** Something happened (database/ownership.ts). */
  heard(
    code: LogCode,
    message: string,
    details?: Record<string, unknown>,
  ): void {
    if (code === "ownership_session_lost") this.#lost = this.#state;
    if (code === "ownership_session_back") this.#state = this.#lost;
    this.#state = stateAfter[code] ?? this.#state;
    if (code === "ownership_session_retry" && this.#retries++ > 0) return;
    if (code === "ownership_session_back") {
      details = { ...details, failedAttempts: this.#retries };
      this.#retries = 0;
    }
    this.#log.tell(code, details, message);
  }
}
