/** Where a run that was stopped has come to, for one that goes on behind it. */

import { existsSync } from "node:fs";
import { open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { quoted } from "../storage/foreign_text.ts";
import { UsageError } from "./usage_errors.ts";

/** How often it is written at most. */
const everyMs = 1000;

/**
 * The file behind `--resume`; it is there only between two runs. `T` says how far
 * a run is, the last stream that is done in most commands, and can be JSON.
 */
export class ResumeFile<T = string> implements AsyncDisposable {
  readonly #path: string | undefined;
  readonly #work: string;
  #after: T | undefined;
  #savedAt = -Infinity;
  #isDone = false;
  #saving: Promise<void> = Promise.resolve();

  private constructor(path: string | undefined, work: string) {
    this.#path = path;
    this.#work = work;
  }

  /**
   * Reads the file, if there is one, and looks whether it can be written: that
   * must not turn out when hours of work depend on it.
   *
   * @param work What is done with what; a file of other work is refused.
   * @throws {UsageError} it is of other work, or none of ours, or can't be
   *   written.
   */
  static async open<T = string>(
    path: string | undefined,
    work: string,
  ): Promise<ResumeFile<T>> {
    const file = new ResumeFile<T>(path, work);
    if (path === undefined) return file;
    const refused = (what: string) => (error: NodeJS.ErrnoException) => {
      throw new UsageError(
        `File ${quoted(path, 200)} can't be ${what}: ${error.code}`,
      );
    };
    if (existsSync(path)) {
      const text = await readFile(path, "utf8").catch(refused("read"));
      file.#after = afterOf(text, work, path) as T;
    }
    await writeFile(`${path}.new`, "", { mode: 0o600 })
      .then(() => rm(`${path}.new`)).catch(refused("written"));
    return file;
  }

  /** How far the last run was. */
  get after(): T | undefined {
    return this.#after;
  }

  /** So far it is now; while nothing is done, undefined or empty. */
  at(after: T | undefined): void {
    if (after === undefined || after === "") return;
    this.#after = after;
    const now = performance.now();
    if (this.#path === undefined || now - this.#savedAt < everyMs) return;
    this.#savedAt = now;
    this.#saving = this.#saving.then(() => this.#save()).catch(() => {});
  }

  /** Nothing is left to go on with. */
  done(): void {
    this.#isDone = true;
  }

  /** Leaves the file as the next run needs it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#saving;
    if (this.#path === undefined) return;
    if (this.#isDone) await rm(this.#path, { force: true });
    else await this.#save();
  }

  /** Whole or not at all, whatever stops us. */
  async #save(): Promise<void> {
    if (this.#after === undefined) return;
    const state = { work: this.#work, after: this.#after };
    const path = `${this.#path!}.new`;
    {
      await using file = await open(path, "w", 0o600);
      await file.writeFile(`${JSON.stringify(state)}\n`);
      await file.sync();
    }
    await rename(path, this.#path!);
  }
}

function afterOf(text: string, work: string, path: string): unknown {
  let state: { work?: unknown; after?: unknown } = {};
  try {
    state = JSON.parse(text) ?? {};
  } catch {
    // Told below.
  }
  if (state.work === work && state.after) return state.after;
  throw new UsageError(
    `Expected a file of the same command's earlier run, found another in ` +
      quoted(path, 200),
  );
}
