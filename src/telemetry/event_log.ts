import { type LogCode, logEvents, type Logger } from "./log_events.ts";

/** Passes events to the host's logger, if there is one. */
export class EventLog {
  readonly #logger: Logger | undefined;

  constructor(logger?: Logger) {
    this.#logger = logger;
  }

  /** Logs an event. Its default message is the meaning of its code. */
  emit(
    code: LogCode,
    details?: Record<string, unknown>,
    message: string = logEvents[code].meaning,
  ): void {
    try {
      const answer: unknown = this.#logger?.({
        level: logEvents[code].level,
        code,
        message,
        ...(details === undefined ? {} : { details }),
      });
      if (answer instanceof Promise) answer.catch(() => {});
    } catch {
      // A failing logger must not make a write fail.
    }
  }
}
