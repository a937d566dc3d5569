/** One checkout in one runtime, seen from the program that compares them. */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { join, resolve } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Figures, otherSchema, urlVariable } from "./place.ts";
import { type SizeName, sizes } from "./sizes.ts";

/** Need not be on PATH. */
const current: Runtime = "Deno" in globalThis ? "deno" : "bun";

const runFile = promisify(execFile);

/** What runs a checkout. */
export type Runtime = "deno" | "bun";

/** Where and how a checkout is measured. */
export interface SideOptions {
  /** As the table calls it. */
  name: string;
  runtime: Runtime;
  /** The directory of the checkout. */
  checkout: string;
  url: string;
  /** Its worker's schema. */
  schema: string;
  size: SizeName;
}

/** See the file's head. Its worker measures one row at a time. */
export class Side implements AsyncDisposable {
  readonly name: string;
  readonly runtime: Runtime;
  readonly #options: SideOptions;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #ended: Promise<void>;

  private constructor(options: SideOptions) {
    const { name, runtime, checkout, url, schema, size } = options;
    this.name = name;
    this.runtime = runtime;
    this.#options = options;
    const [program, args] = commandOf(runtime, checkout, "worker.ts");
    this.#child = spawn(program, [...args, checkout, schema, size], {
      stdio: ["pipe", "pipe", "inherit"],
      env: withUrl(url),
    });
    this.#lines = createInterface({ input: this.#child.stdout! })
      [Symbol.asyncIterator]();
    this.#ended = new Promise((resolve) => {
      this.#child.once("error", () => resolve());
      this.#child.once("exit", () => resolve());
    });
    // That a worker has ended is seen by the end of its output.
    this.#child.stdin!.on("error", () => {});
  }

  /** Starts a worker and waits until its store is open. */
  static async start(options: SideOptions): Promise<Side> {
    const side = new Side(options);
    await side.#answer();
    return side;
  }

  /**
   * Measures a row; with a path, saves a profile of this there.
   *
   * @throws {Error} the checkout can't do it, or the worker has ended; there is
   *   no profile of a process that only opens a store.
   */
  async measure(
    row: string,
    seconds: number,
    profilePath?: string,
  ): Promise<Figures> {
    if (row === "open-process") {
      if (profilePath === undefined) return await this.#openOnce();
      throw new Error(`${this.name}: a process that opens has no profile`);
    }
    const question = { row, seconds, profilePath };
    this.#child.stdin!.write(`${JSON.stringify(question)}\n`);
    return await this.#answer();
  }

  async #answer(): Promise<Figures> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.name}: the worker has ended`);
    const { error, ...figures } = JSON.parse(value);
    if (error !== undefined) throw new Error(`${this.name}: ${error}`);
    return figures;
  }

  /** The schema is not the worker's: a store would have to be taken over. */
  async #openOnce(): Promise<Figures> {
    const { runtime, checkout, url, schema, size } = this.#options;
    const [program, args] = commandOf(runtime, checkout, "open_once.ts", [
      // As a program that uses the package has it: before Deno loads a package,
      // it looks at all in node_modules, and the checkout has 300 for its tests.
      "--node-modules-dir=none",
    ]);
    const { stdout } = await runFile(program, [
      ...args,
      checkout,
      otherSchema(schema),
      String(sizes[size].partitions),
      String(Date.now()),
    ], { env: withUrl(url) });
    return JSON.parse(stdout);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin!.end();
    await this.#ended;
  }
}

/** Others can read the arguments of a process. */
function withUrl(url: string): Record<string, string | undefined> {
  return { ...process.env, [urlVariable]: url };
}

/** The program and the arguments that run a script with a checkout's packages. */
function commandOf(
  runtime: Runtime,
  checkout: string,
  script: string,
  denoFlags: readonly string[] = [],
): [program: string, args: string[]] {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const program = runtime === current ? process.execPath : runtime;
  if (runtime === "bun") return [program, ["run", path]];
  const config = `--config=${join(resolve(checkout), "deno.json")}`;
  return [program, ["run", "-A", "--no-check", ...denoFlags, config, path]];
}
