import { readdirSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

/** Shorter than any step of a start. */
const pauseMs = 20;

/**
 * Collects what every process that begins before `end` shows of itself. Processes
 * that already run are left out: on a busy machine, one look at all of them takes
 * longer than the shortest step of a start.
 */
export class ProcessSweep {
  readonly #before = new Set(processes(readdirSync("/proc")));
  readonly #seen = new Set<string>();
  readonly #done: Promise<void>;
  #isOver = false;

  /** Starts to look. */
  constructor() {
    this.#done = this.#look();
  }

  /** All arguments and environments that were seen. */
  async end(): Promise<string[]> {
    this.#isOver = true;
    await this.#done;
    return [...this.#seen];
  }

  async #look(): Promise<void> {
    let isLast = false;
    do {
      isLast = this.#isOver; // looks once more after `end` was called
      const pids = processes(await readdir("/proc"))
        .filter((pid) => !this.#before.has(pid));
      const texts = pids.flatMap((pid) =>
        ["cmdline", "environ"].map((name) =>
          // The process has ended, or belongs to another user.
          readFile(`/proc/${pid}/${name}`, "latin1").catch(() => "")
        )
      );
      for (const text of await Promise.all(texts)) this.#seen.add(text);
      await delay(pauseMs);
    } while (!isLast);
  }
}

function processes(names: string[]): string[] {
  return names.filter((name) => /^\d+$/.test(name));
}
