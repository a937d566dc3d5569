import { openStreamStorage, type PostgresStreamStorage } from "../../mod.ts";
import type { RetryPolicy } from "../../mod.ts";
import { type Checks, checkStore, type Ground } from "./checker.ts";
import { BrokenPromise, Ledger } from "./ledger.ts";
import { Payloads } from "./payload.ts";
import { Account } from "./run.ts";
import { Writers } from "./writers.ts";

/** A store, its writers, and the ledger of their calls. */
export class StoreUnderLoad implements AsyncDisposable {
  readonly ledger: Ledger = new Ledger();
  readonly account: Account = new Account();
  readonly #storage: PostgresStreamStorage;
  readonly #url: string;
  readonly #seed: string;
  readonly #writers: Writers;

  private constructor(
    storage: PostgresStreamStorage,
    options: { url: string; seed: string; streams: number },
  ) {
    const { ledger, account } = this;
    this.#storage = storage;
    this.#url = options.url;
    this.#seed = options.seed;
    this.#writers = new Writers({
      ...options,
      storage,
      firstId: 1,
      listener: {
        begin: (call, operation) => ledger.begin(call, operation),
        end: (call, outcome, ms) => {
          ledger.end(call, outcome);
          account.end(outcome, ms);
        },
        observed: (stream, state) => ledger.observe(stream, state),
        broken: (error) => account.break(error),
      },
    });
  }

  /** Opens a store on a new schema. Its writers wait for {@linkcode resume}. */
  static async open(options: {
    url: string;
    schema: string;
    seed: string;
    streams: number;
    retry?: RetryPolicy;
  }): Promise<StoreUnderLoad> {
    const { url, schema, retry } = options;
    const storage = await openStreamStorage({
      url,
      schema,
      partitions: 4,
      startupDelayMs: 0,
      ...(retry && { retry }),
    });
    return new StoreUnderLoad(storage, options);
  }

  /** The schema, for checks. */
  get ground(): Ground {
    const { schema, partitions } = this.#storage;
    return { url: this.#url, schema, partitions };
  }

  /** Lets the writers write. */
  resume(): void {
    this.#writers.resume();
  }

  /**
   * Waits until all calls have ended, and compares the stored rows with their
   * results.
   *
   * @throws {BrokenPromise}
   */
  async check(checks: Checks): Promise<void> {
    await this.#writers.pause();
    this.account.throwIfBroken();
    const payloads = new Payloads(this.#seed);
    await checkStore(this.ground, this.ledger, payloads, checks);
    if (this.#storage.signal.aborted) {
      throw new BrokenPromise("The only owner has lost its ownership");
    }
  }

  /** Stops the writers and closes the store. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writers.stop();
    await this.#storage.close();
  }
}
