import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type {
  RemoteAnswer,
  RemoteCall,
  RemoteFailure,
  RemotePlan,
} from "./remote_store_process.ts";
import { startProgram } from "./start_program.ts";

const script = fileURLToPath(
  new URL("remote_store_process.ts", import.meta.url),
);

/** How many times a call is made before it is given up. */
const maxAttempts = 50;

/** Starts and controls a `remote_store_process.ts`. */
export class RemoteStores implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #answers = new Map<
    number,
    PromiseWithResolvers<(RemoteFailure | null)[]>
  >();
  #requests = 0;

  private constructor(command: readonly string[], plan: RemotePlan) {
    const child = startProgram(script, plan, command);
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

  /** Starts a process with the command, and opens the stores in it. */
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
   * Makes the calls at the same time. Resolves with the failure of each call;
   * undefined for a call that was acknowledged.
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
   * Makes the calls at the same time, and repeats each until it is
   * acknowledged. An attempt of unknown outcome may have been executed; then
   * the next one is refused, and the call counts as acknowledged. `isInDoubt`
   * says that the caller has made such attempts of all calls.
   *
   * @throws {Error} the store refused a call for good.
   */
  async acknowledged(
    schema: string,
    calls: readonly RemoteCall[],
    { isInDoubt = false }: { isInDoubt?: boolean } = {},
  ): Promise<void> {
    const inDoubt = new Set(isInDoubt ? calls : []);
    let left = calls;
    for (let attempt = 0; left.length > 0; attempt++) {
      const failures = await this.call(schema, left);
      const failed = left.flatMap((call, nth) => {
        const failure = failures[nth];
        return failure
          ? [{ call, failure, isRefused: isRefused(failure) }]
          : [];
      });
      const final = failed.find(({ call, isRefused }) =>
        isRefused && !inDoubt.has(call)
      );
      if (final || attempt === maxAttempts) {
        throw new Error(`${schema}: ${JSON.stringify(final ?? failures)}`);
      }
      for (const { call, failure } of failed) {
        if (failure.outcome === "unknown") inDoubt.add(call);
      }
      left = failed.filter(({ isRefused }) => !isRefused)
        .map(({ call }) => call);
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

/** Whether the store refused the call for good and certainly did nothing. */
function isRefused({ retryable, outcome }: RemoteFailure): boolean {
  return !retryable && outcome !== "unknown";
}
