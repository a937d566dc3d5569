import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { InstanceLine, InstancePlan } from "./instance_process.ts";

const script = fileURLToPath(new URL("instance_process.ts", import.meta.url));

/** Starts and controls an `instance_process.ts`. */
export class Instance implements AsyncDisposable {
  readonly name: string;
  /**
   * How many writes it has reported as acknowledged. The last few may be
   * missing.
   */
  acknowledged = 0;
  /** Resolves when it has ended and all its lines were received. */
  readonly ended: Promise<unknown>;
  readonly #process: ChildProcess;
  readonly #received: InstanceLine[] = [];
  #hasEnded = false;
  #waiting: (() => void)[] = [];

  /** Starts it with the runtime of this process. */
  constructor(plan: InstancePlan) {
    this.name = plan.name;
    const flags = "Deno" in globalThis ? ["run", "-A", "--no-check"] : ["run"];
    const child = spawn(process.execPath, [...flags, script], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    child.stdin.on("error", () => {}); // its exit is noticed anyway
    // Every user of the machine could read an argument.
    child.stdin.write(`${JSON.stringify(plan)}\n`);
    const lines = createInterface({ input: child.stdout });
    lines.on("line", (line) => {
      // A killed process may have written only a part of its last line.
      if (line.endsWith("}")) this.#receive(JSON.parse(line));
    });
    this.ended = Promise.all([once(child, "exit"), once(lines, "close")])
      .then(() => {
        this.#hasEnded = true;
        this.#wake();
      });
    this.#process = child;
  }

  /**
   * Resolves when it has sent such a line.
   *
   * @throws {Error} it has ended without sending one.
   */
  async reported(is: (line: InstanceLine) => boolean): Promise<void> {
    while (!this.#received.some(is)) {
      if (this.#hasEnded) {
        throw new Error(`Expected more of: ${JSON.stringify(this.#received)}`);
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Resolves when its first write was acknowledged. */
  works(): Promise<void> {
    return this.reported(({ type }) => type === "works");
  }

  /** Resolves when it stands by. */
  standsBy(): Promise<void> {
    return this.reported((line) =>
      line.type === "log" && line.code === "ownership_standby"
    );
  }

  /** Resolves when it has stopped because another owns the schema. */
  stopped(): Promise<void> {
    return this.reported(({ type }) => type === "stopped");
  }

  /** Resolves when it has closed, as asked. */
  async close(): Promise<void> {
    this.#process.stdin!.write("close\n");
    await this.ended;
  }

  signal(name: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    try {
      // `child.kill` in Deno sends only one signal.
      process.kill(this.#process.pid!, name);
    } catch {
      // It has ended.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#hasEnded) this.signal("SIGKILL");
    await this.ended;
  }

  #receive(line: InstanceLine): void {
    if (line.type === "acknowledged") this.acknowledged = line.events;
    else this.#received.push(line);
    this.#wake();
  }

  /** Lets everything that waits for a line look again. */
  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
