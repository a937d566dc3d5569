/** Where a run that was stopped has come to, for one that goes on behind it. */

import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { quoted } from "../storage/foreign_text.ts";
import { UsageError } from "./usage_errors.ts";

/** How often it is written at most. */
const everyMs = 1000;

/** The file behind `--resume`; it is there only between two runs. */
export class ResumeFile implements AsyncDisposable {
  readonly #path: string | undefined;
  readonly #work: string;
  #after: string | undefined;
  #savedAt = performance.now();
  #isDone = false;
  #saving: Promise<void> = Promise.resolve();

  private constructor(path: string | undefined, work: string) {
    this.#path = path;
    this.#work = work;
  }

  /**
   * Reads the file, if there is one.
   *
   * @param work What is done with what; a file of other work is refused.
   * @throws {UsageError} it is of other work, or none of ours.
   */
  static async open(
    path: string | undefined,
    work: string,
  ): Promise<ResumeFile> {
    const file = new ResumeFile(path, work);
    if (path === undefined) return file;
    const text = await readFile(path, "utf8").catch((error: unknown) => {
      const { code } = error as { code?: string };
      if (code === "ENOENT") return undefined;
      throw new UsageError(`File ${quoted(path, 200)} can't be read: ${code}`);
    });
    if (text !== undefined) file.#after = afterOf(text, work, path);
    return file;
  }

  /** The last stream that is done. */
  get after(): string | undefined {
    return this.#after;
  }

  /** So far it is now; empty, no stream is done. */
  at(after: string): void {
    if (after === "") return;
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
    await writeFile(path, `${JSON.stringify(state)}\n`, { mode: 0o600 });
    await rename(path, this.#path!);
  }
}

function afterOf(text: string, work: string, path: string): string {
  let state: { work?: unknown; after?: unknown } = {};
  try {
    state = JSON.parse(text) ?? {};
  } catch {
    // Told below.
  }
  if (state.work === work && typeof state.after === "string") {
    return state.after;
  }
  throw new UsageError(
    `Expected a file of the same command's earlier run, found another in ` +
      quoted(path, 200),
  );
}
