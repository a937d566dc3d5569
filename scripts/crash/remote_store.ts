import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type {
  RemoteAnswer,
  RemoteCall,
  RemoteFailure,
  RemotePlan,
} from "./remote_store_process.ts";

const script = fileURLToPath(
  new URL("remote_store_process.ts", import.meta.url),
);

/** A call that was not acknowledged is made again so often. */
const maxAttempts = 50;

/** Our end of a `remote_store_process.ts`. */
export class RemoteStores implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #answers = new Map<
    number,
    PromiseWithResolvers<(RemoteFailure | null)[]>
  >();
  #requests = 0;

  private constructor(command: readonly string[], plan: RemotePlan) {
    const flags = "Deno" in globalThis ? ["run", "-A", "--no-check"] : ["run"];
    const [program = process.execPath, ...args] = [
      ...command,
      process.execPath,
      ...flags,
      script,
    ];
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    child.stdin.on("error", () => {}); // its end tells
    // Not as an argument: everybody on the machine can read those.
    child.stdin.write(`${JSON.stringify(plan)}\n`);
    createInterface({ input: child.stdout }).on("line", (line) => {
      const { id, failures } = JSON.parse(line) as RemoteAnswer;
      this.#answers.get(id)?.resolve(failures);
      this.#answers.delete(id);
    });
    this.#ended = once(child, "exit").then(() => {
      const error = new Error("The process of the stores has ended");
      for (const { reject } of this.#answers.values()) reject(error);
    });
    this.#process = child;
  }

  /** Opens the stores in a process that is started by the command. */
  static async open(
    command: readonly string[],
    plan: RemotePlan,
  ): Promise<RemoteStores> {
    const stores = new RemoteStores(command, plan);
    try {
      await stores.#answer(0);
      return stores;
    } catch (error) {
      await stores[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Makes the calls at the same time; what failed of them, each at its place.
   */
  async call(
    schema: string,
    calls: readonly RemoteCall[],
  ): Promise<(RemoteFailure | null)[]> {
    const id = ++this.#requests;
    const answer = this.#answer(id);
    this.#process.stdin!.write(`${JSON.stringify({ id, schema, calls })}\n`);
    return await answer;
  }

  /**
   * Makes the calls at the same time, each again until it is acknowledged.
   *
   * @throws {Error} a call was refused for good.
   */
  async acknowledged(
    schema: string,
    calls: readonly RemoteCall[],
  ): Promise<void> {
    let left = calls;
    for (let attempt = 0; left.length > 0; attempt++) {
      const failures = await this.call(schema, left);
      const final = failures.find((failure) =>
        failure && !failure.retryable && failure.outcome !== "unknown"
      );
      if (final || attempt === maxAttempts) {
        throw new Error(`${schema}: ${JSON.stringify(final ?? failures)}`);
      }
      left = left.filter((_, nth) => failures[nth] !== null);
    }
  }

  /** Kills the process. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#ended;
  }

  #answer(id: number): Promise<(RemoteFailure | null)[]> {
    const answer = Promise.withResolvers<(RemoteFailure | null)[]>();
    this.#answers.set(id, answer);
    return answer.promise;
  }
}
