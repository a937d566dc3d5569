/** Where a verification that was stopped has come to, for one that goes on. */

import { open, readFile, rename, rm } from "node:fs/promises";
import { quoted } from "../../storage/foreign_text.ts";
import { UsageError } from "../usage_errors.ts";

/** How often it is written at most. */
const everyMs = 1000;

/** The file behind `--resume`; it is there only between two runs. */
export class StateFile<T> {
  readonly #path: string;
  readonly #work: unknown;
  #savedAt = -Infinity;
  #saving: Promise<unknown> = Promise.resolve();

  /**
   * @param work What is done with what, as JSON: only a run that does the same can
   *   go on.
   */
  constructor(path: string, work: unknown) {
    this.#path = path;
    this.#work = work;
  }

  /**
   * What the last run has left; undefined if there is no file.
   *
   * @throws {UsageError} it is none of ours, or of other work.
   */
  async read(): Promise<T | undefined> {
    const text = await readFile(this.#path, "utf8").catch((error) => {
      if (codeOf(error) === "ENOENT") return undefined;
      throw this.#refused(`can't be read: ${codeOf(error)}`);
    });
    if (text === undefined) return undefined;
    const { work, state } = parsed(text);
    const isSame = JSON.stringify(work) === JSON.stringify(this.#work);
    if (isSame && state !== undefined) return state as T;
    throw this.#refused(
      "is of something else: expected one of a run with the same options",
    );
  }

  /** Writes it now and then. That it can't be written is told by `save`. */
  at(stateOf: () => T): void {
    const now = performance.now();
    if (now - this.#savedAt < everyMs) return;
    this.#savedAt = now;
    const text = this.#textOf(stateOf());
    this.#saving = this.#saving.then(() => this.#write(text)).catch(() => {});
  }

  /**
   * Writes it.
   *
   * @throws {UsageError} it can't be written.
   */
  async save(state: T): Promise<void> {
    await this.#saving;
    await this.#write(this.#textOf(state)).catch((error) => {
      throw this.#refused(`can't be written: ${codeOf(error)}`);
    });
  }

  /** Nothing is left to go on with. */
  async remove(): Promise<void> {
    await this.#saving;
    await rm(this.#path, { force: true });
  }

  /** Whole or not at all, whatever stops us. */
  async #write(text: string): Promise<void> {
    const path = `${this.#path}.new`;
    {
      await using file = await open(path, "w", 0o600);
      await file.writeFile(text);
      await file.sync();
    }
    await rename(path, this.#path);
  }

  #textOf(state: T): string {
    return `${JSON.stringify({ work: this.#work, state })}\n`;
  }

  #refused(what: string): UsageError {
    return new UsageError(`File ${quoted(this.#path, 200)} ${what}`);
  }
}

function parsed(text: string): { work?: unknown; state?: unknown } {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}
