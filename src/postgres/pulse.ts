import { PgError } from "../database/pg_error.ts";
import type { Pool } from "../database/pool.ts";
import { bind, statement } from "../database/statement.ts";
import type { DatabaseHealth } from "../telemetry/database_health.ts";

/** Milliseconds without an answer after which the pulse asks for one. */
const defaultBeatMs = 5000;

/** How much faster the pulse beats while the database does not answer. */
const haste = 5;

const sign = [
  bind(statement({ text: "SELECT 1", columns: ["int4"], once: true })),
] as const;

/**
 * Asks the database for a sign of life when nothing else has asked it for some
 * time. Otherwise an idle store would not notice that its database is gone, or
 * back, and a host that routes by health would not send it work again.
 */
export class Pulse {
  readonly #pool: Pool;
  readonly #health: DatabaseHealth;
  readonly #beatMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isStopped = false;

  constructor(pool: Pool, health: DatabaseHealth, beatMs = defaultBeatMs) {
    this.#pool = pool;
    this.#health = health;
    this.#beatMs = beatMs;
    // Opening the store has just brought answers.
    health.answered();
    this.#next();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  /** Waits until the last answer is too old; less long while there is none. */
  #next(): void {
    if (this.#isStopped) return;
    const now = performance.now();
    const { answeredAt = now } = this.#health;
    const ms = this.#health.isAnswering(now)
      ? Math.max(0, answeredAt + this.#beatMs - now)
      : this.#beatMs / haste;
    this.#timer = setTimeout(() => void this.#beat(), ms);
  }

  /** Never rejects. */
  async #beat(): Promise<void> {
    const now = performance.now();
    const { answeredAt = -Infinity } = this.#health;
    const isQuiet = now - answeredAt >= this.#beatMs;
    if (isQuiet || !this.#health.isAnswering(now)) await this.#ask(now);
    this.#next();
  }

  async #ask(now: number): Promise<void> {
    try {
      await this.#pool.run(sign, "read", undefined, now + this.#beatMs);
      this.#health.answered();
    } catch (error) {
      // A refusal is an answer, too. Other code reports why an answer does not
      // arrive.
      if (error instanceof PgError) this.#health.answered();
    }
  }
}
