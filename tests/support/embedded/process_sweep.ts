import { readdir, readFile } from "node:fs/promises";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";

/** Shorter than any step of a start. */
const pauseMs = 20;

/** Collects what all other processes show of themselves, until `end`. */
export class ProcessSweep {
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
      const pids = (await readdir("/proc"))
        .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
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
