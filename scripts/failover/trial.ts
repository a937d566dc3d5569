/** One failover: two servers, a store under load, and the result. */
import { setTimeout as delay } from "node:timers/promises";
import {
  type LogEvent,
  openStreamStorage,
  type PostgresStreamStorage,
} from "../../mod.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import { atMost } from "../../src/storage/at_most.ts";
import { Random } from "../../tests/support/random.ts";
import { Account } from "./account.ts";
import { FailoverLedger } from "./ledger.ts";
import { Load } from "./load.ts";
import { type Mode, type Order, Pair } from "./pair.ts";
import { Probes, probeStreams } from "./probes.ts";

/** How to run one failover. */
export interface TrialOptions {
  scenario: string;
  mode: Mode;
  order: Order;
  seed: string;
  streams: number;
  /** Which of two ways a scenario takes, if it has two. */
  variant: 0 | 1;
}

/** The schema of the store. */
export const ground = { schema: "failover", partitions: 4 };

/** An open store and its log events. */
export interface OpenedStore {
  storage: PostgresStreamStorage;
  events: { at: number; event: LogEvent }[];
}

/** See the file's head. */
export class Trial implements AsyncDisposable {
  readonly options: TrialOptions;
  readonly pair: Pair;
  readonly random: Random;
  readonly ledger = new FailoverLedger(Object.values(probeStreams));
  readonly account = new Account();
  /** What is not as it should be. */
  readonly faults: string[] = [];
  /** All stores, in the order in which they were opened. */
  readonly stores: OpenedStore[] = [];
  /** Milliseconds from the promotion to the first write at the new primary. */
  movedMs: number | undefined;
  /** Milliseconds that the opening of a second store took. */
  openedMs: number | undefined;
  /** How many acknowledged writes may be lost. */
  lossLimit = Infinity;
  /** Whether the old primary can be read. */
  oldCanBeAsked = false;
  #current: OpenedStore | undefined;
  #load: Load | undefined;
  #probes: Probes | undefined;
  #promotedAt = 0;
  #replicated = 0;

  private constructor(options: TrialOptions, pair: Pair) {
    this.options = options;
    this.pair = pair;
    this.random = new Random(`${options.seed}:trial`);
  }

  /** Starts the servers. */
  static async start(options: TrialOptions): Promise<Trial> {
    return new Trial(options, await Pair.start(options.mode));
  }

  /** The probes, which find out which server answers. */
  get probes(): Probes {
    return this.#probes!;
  }

  /** The store under load. */
  get current(): OpenedStore {
    return this.#current!;
  }

  /** Opens a store with the URL of both servers. */
  async open(
    options: Partial<StreamStorageOptions> = {},
  ): Promise<OpenedStore> {
    const events: OpenedStore["events"] = [];
    const storage = await openStreamStorage({
      url: this.pair.url(this.options.order),
      ...ground,
      startupDelayMs: 0,
      logger: (event) => void events.push({ at: performance.now(), event }),
      ...options,
    });
    const store = { storage, events };
    this.stores.push(store);
    return store;
  }

  /** Opens a store and puts load on it, until some writes are acknowledged. */
  async openUnderLoad(): Promise<void> {
    const { seed, streams } = this.options;
    const { account, ledger } = this;
    this.#current = await this.open();
    const { storage } = this.#current;
    const catalog = new Catalog(ground.schema, ground.partitions);
    this.#probes = new Probes({ storage, seed, catalog, account });
    await this.#probes.start();
    this.#load = new Load({ storage, seed, streams, ledger, account });
    this.#load.resume();
    await this.more(this.random.between(300, 600));
  }

  /** Directs load and probes to this store from now on. */
  async use(store: OpenedStore): Promise<void> {
    await this.rest();
    this.#current = store;
    this.#load!.use(store.storage);
    this.#probes!.use(store.storage);
    this.#load!.resume();
    this.#probes!.pause(false);
  }

  /**
   * Waits for acknowledged writes. If too few come, adds a fault and returns
   * false.
   */
  async more(writes: number, limitMs = 30_000): Promise<boolean> {
    const target = this.account.acknowledgedWrites + writes;
    return await this.within(
      limitMs,
      `${writes} acknowledged writes`,
      () => this.account.acknowledgedWrites >= target,
    );
  }

  /**
   * Waits until the standby has all acknowledged writes. None of them may be
   * lost.
   */
  async replicate(): Promise<void> {
    this.#replicated = this.account.acknowledgedWrites;
    await this.pair.catchUp();
  }

  /** Forbids the loss of writes that are acknowledged from now on. */
  limitLoss(): void {
    this.lossLimit = this.account.acknowledgedWrites - this.#replicated;
  }

  /** Promotes the standby, and marks it before any store uses it. */
  async promote(): Promise<void> {
    const { standby } = this.pair;
    await standby.set("default_transaction_read_only", "on");
    await standby.until(
      "current_setting('default_transaction_read_only')::bool",
    );
    await standby.query("SELECT pg_promote()");
    await this.probes.mark(standby);
    this.#promotedAt = performance.now();
    await standby.set("default_transaction_read_only", "off");
  }

  /** Waits until the store reads and writes at the new primary. */
  async moved(limitMs: number): Promise<boolean> {
    const { standby } = this.pair;
    const before = await this.probes.lastOn(standby);
    const isThere = await this.within(
      limitMs,
      "reads and writes at the new primary",
      async () => {
        const writes = await this.probes.lastOn(standby) > before;
        return writes && this.probes.readsAreNew;
      },
    );
    if (isThere) this.movedMs = performance.now() - this.#promotedAt;
    return isThere;
  }

  /** Waits for the condition; adds a fault if it does not become true. */
  async within(
    limitMs: number,
    what: string,
    isSo: () => boolean | Promise<boolean>,
  ): Promise<boolean> {
    const deadline = performance.now() + limitMs;
    while (!await isSo()) {
      if (performance.now() > deadline) {
        this.faults.push(`Not within ${limitMs / 1000} s: ${what}`);
        return false;
      }
      await delay(10);
    }
    return true;
  }

  /** Adds a fault unless the condition holds. */
  expect(condition: boolean, otherwise: string): void {
    if (!condition) this.faults.push(otherwise);
  }

  /** Returns the events of all stores with this code. */
  eventsOf(code: string): { at: number; event: LogEvent }[] {
    return this.stores.flatMap(({ events }) => events)
      .filter(({ event }) => event.code === code);
  }

  /**
   * Lets no call begin. If calls in flight do not end, adds a fault; returns
   * false.
   */
  async rest(): Promise<boolean> {
    this.#probes?.pause(true);
    let isAtRest = this.#load === undefined;
    void this.#load?.pause().then(() => isAtRest = true);
    return await this.within(30_000, "the end of every call", () => isAtRest);
  }

  /** Closes the stores and removes the servers. */
  async [Symbol.asyncDispose](): Promise<void> {
    const ends = [this.#load?.stop(), this.#probes?.stop()];
    await atMost(5000, Promise.all(ends));
    const closed = this.stores.map(({ storage }) => storage.close());
    await atMost(5000, Promise.allSettled(closed));
    await this.pair[Symbol.asyncDispose]();
    await Promise.allSettled([...ends, ...closed]);
  }
}
