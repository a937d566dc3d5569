import { readdir, readFile } from "node:fs/promises";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";

/** The shortest step of a start lasts longer. */
const pauseMs = 20;

/** What all processes but this one show of themselves, from now until the end. */
export class ProcessSweep {
  readonly #seen = new Set<string>();
  readonly #done: Promise<void>;
  #isOver = false;

  /** Begins to look. */
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
      isLast = this.#isOver; // once more after the end was asked for
      const pids = (await readdir("/proc"))
        .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
      const texts = pids.flatMap((pid) =>
        ["cmdline", "environ"].map((name) =>
          // It has ended, or is another user's.
          readFile(`/proc/${pid}/${name}`, "latin1").catch(() => "")
        )
      );
      for (const text of await Promise.all(texts)) this.#seen.add(text);
      await delay(pauseMs);
    } while (!isLast);
  }
}
