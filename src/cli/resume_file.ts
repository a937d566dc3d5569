/**
 * Remembers how far an interrupted run has come, so that another one can
 * continue.
 */

import { existsSync } from "node:fs";
import { open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { quoted } from "../storage/foreign_text.ts";
import { UsageError } from "./usage_errors.ts";

/** The least time between two writes of the file. */
const everyMs = 1000;

/**
 * The file of `--resume`, which remains only after an interrupted run. `T` says
 * how far a run is and can be JSON; for most commands it is the last stream
 * that is done.
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
   * Reads the file, if there is one, and checks that it can be written.
   * Otherwise a run could fail to save hours of work.
   *
   * @param work Identifies the work; a file of other work is refused.
   * @throws {UsageError} the file belongs to other work, is not a file of this
   *   program, or can't be written.
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

  /** How far the earlier run was. */
  get after(): T | undefined {
    return this.#after;
  }

  /** Notes how far this run is; undefined or empty while nothing is done. */
  at(after: T | undefined): void {
    if (after === undefined || after === "") return;
    this.#after = after;
    const now = performance.now();
    if (this.#path === undefined || now - this.#savedAt < everyMs) return;
    this.#savedAt = now;
    this.#saving = this.#saving.then(() => this.#save()).catch(() => {});
  }

  /** Notes that the work is complete. */
  done(): void {
    this.#isDone = true;
  }

  /**
   * Writes the file for the next run, or removes it if the work is complete.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#saving;
    if (this.#path === undefined) return;
    if (this.#isDone) await rm(this.#path, { force: true });
    else await this.#save();
  }

  /** Writes the file completely or not at all, even if the process dies. */
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
    // The code below throws the error.
  }
  if (state.work === work && state.after) return state.after;
  throw new UsageError(
    `Expected a file of the same command's earlier run, found another in ` +
      quoted(path, 200),
  );
}
