import { type LogCode, logEvents, type Logger } from "./log_events.ts";

/** Tells the host's logger, if there is one. */
export class EventLog {
  readonly #logger: Logger | undefined;

  constructor(logger?: Logger) {
    this.#logger = logger;
  }

  /** The message is by default what the code means. */
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
      // A fault of the host's logger must not become one of a write.
    }
  }
}
