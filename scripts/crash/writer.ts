import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { BrokenPromise, type Ledger } from "./ledger.ts";
import type { Account } from "./run.ts";
import { startProgram } from "./start_program.ts";
import type { WriterLine, WriterPlan } from "./writer_process.ts";

const script = fileURLToPath(new URL("writer_process.ts", import.meta.url));

/** Starts and controls a `writer_process.ts`. */
export class Writer {
  readonly #process: ChildProcess;
  readonly #ledger: Ledger;
  readonly #account: Account;
  readonly #owner = Promise.withResolvers<void>();
  readonly #stopped = Promise.withResolvers<void>();
  readonly #ended: Promise<unknown>;
  #paused = Promise.withResolvers<void>();
  #isReplaced = false;
  /** Calls that it began when it no longer owned the store. */
  readonly #begunLate = new Set<number>();

  /**
   * Starts the process, with the command if there is one. The ledger records
   * what the process sends.
   */
  constructor(
    plan: WriterPlan,
    ledger: Ledger,
    account: Account,
    command: readonly string[] = [],
  ) {
    this.#ledger = ledger;
    this.#account = account;
    const child = startProgram(script, plan, command);
    const lines = createInterface({ input: child.stdout });
    lines.on("line", (line) => this.#receive(line));
    this.#ended = Promise.all([once(child, "exit"), once(lines, "close")]);
    const early = new Error("The writer ended before it owned the store");
    void this.#ended.then(() => this.#owner.reject(early));
    this.#owner.promise.catch(() => {}); // owner() reports it
    this.#process = child;
  }

  /** Resolves when the process owns the store. */
  owner(): Promise<void> {
    return this.#owner.promise;
  }

  /** Resolves when it has noticed that it no longer owns the store. */
  stopped(): Promise<void> {
    return this.#stopped.promise;
  }

  /** Lets it write. */
  go(): void {
    this.#process.stdin?.write("go\n");
  }

  /** Pauses its writes. Resolves when none of its calls is in flight. */
  async pause(): Promise<void> {
    this.#paused = Promise.withResolvers();
    this.#process.stdin?.write("pause\n");
    await this.#paused.promise;
  }

  /** Freezes the process at once. */
  freeze(): void {
    this.#signal("SIGSTOP");
  }

  /**
   * Lets a frozen process go on. It no longer owns the store, and must notice
   * that.
   */
  thaw(): void {
    this.#isReplaced = true;
    this.#signal("SIGCONT");
  }

  /** Kills it with SIGKILL. Resolves when all that it sent was received. */
  async kill(): Promise<void> {
    this.#signal("SIGKILL");
    await this.#ended;
  }

  #signal(signal: NodeJS.Signals): void {
    const { pid } = this.#process;
    if (pid === undefined) return;
    try {
      process.kill(pid, signal);
    } catch {
      // It has just ended.
    }
  }

  #receive(text: string): void {
    let line: WriterLine;
    try {
      line = JSON.parse(text) as WriterLine;
    } catch {
      return; // the last line, of which the kill left only a part
    }
    try {
      if (this.#isReplaced) this.#takeLate(line);
      else this.#take(line);
    } catch (error) {
      this.#account.break(error);
    }
  }

  #take(line: WriterLine): void {
    switch (line.type) {
      case "owner":
        return this.#owner.resolve();
      case "begin":
        return this.#ledger.begin(line.call, line.operation);
      case "end":
        this.#ledger.end(line.call, line.outcome);
        return this.#account.end(line.outcome, line.ms);
      case "observed":
        return this.#ledger.observe(line.stream, line.state ?? undefined);
      case "paused":
        return this.#paused.resolve();
      case "stopped":
        return this.#stopped.resolve();
      case "broken":
        throw new BrokenPromise(line.message);
    }
  }

  /** Checks a former owner's messages. Its reads are not recorded. */
  #takeLate(line: WriterLine): void {
    switch (line.type) {
      case "begin":
        this.#begunLate.add(line.call);
        return;
      case "end":
        if (!this.#begunLate.has(line.call)) {
          return this.#ledger.end(line.call, line.outcome);
        }
        if (line.outcome !== "acknowledged") return;
        throw new BrokenPromise("A former owner's write was acknowledged");
      case "stopped":
        return this.#stopped.resolve();
    }
  }
}
