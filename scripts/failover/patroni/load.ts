/**
 * A store that outlives failovers, its writers, and the ledger of their calls.
 */
import { setTimeout as delay } from "node:timers/promises";
import {
  type LogEvent,
  openStreamStorage,
  type PostgresStreamStorage,
} from "../../../mod.ts";
import { type Checks, checkStore } from "../../crash/checker.ts";
import { Payloads } from "../../crash/payload.ts";
import { Writers } from "../../crash/writers.ts";
import { LossLedger, type Window } from "./loss_ledger.ts";
import { until, within } from "./waiting.ts";
import { Observations, WatchedStorage } from "./watched_storage.ts";

/** How long a store may take to find the new primary, in milliseconds. */
const recoveryLimitMs = 60_000;

/** How long the last calls, or an opening, may take, in milliseconds. */
const endLimitMs = 60_000;

/** The numbers of a round's calls and payloads begin at a multiple of this. */
const idsPerRound = 1_000_000;

const partitions = 4;

/** How many faults of a kind are reported in full. */
const fewFaults = 3;

/** The store to open, and its load. */
export interface LoadOptions {
  /** How the table names it. */
  via: string;
  url: string;
  /** The name of its schema and of its sessions. */
  schema: string;
  seed: string;
  streams: number;
}

/** The results of one store in one round. */
export interface RoundOfStore {
  via: string;
  observations: Observations;
  lost: number;
  unknown: { there: number; absent: number };
  /**
   * Milliseconds from the promotion to the last acknowledgement of a lost
   * write.
   */
  lostAfterPromotionMs: number | undefined;
  /** How many times the store logged each event. */
  logged: Record<string, number>;
  /** Faults that no failover excuses. */
  faults: string[];
}

/** See the file's head. */
export class Load implements AsyncDisposable {
  readonly #options: LoadOptions;
  readonly #ledger = new LossLedger();
  readonly #payloads: Payloads;
  #storage: PostgresStreamStorage | undefined;
  #writers: Writers | undefined;
  #watched: WatchedStorage | undefined;
  #observations = new Observations();
  #logged = new Map<string, number>();
  #faults: string[] = [];
  #rounds = 0;

  /** The store is not open yet; {@linkcode begin} opens it. */
  constructor(options: LoadOptions) {
    this.#options = options;
    this.#payloads = new Payloads(options.seed);
  }

  /** The name of its sessions. */
  get name(): string {
    return this.#options.schema;
  }

  /** How the table names it. */
  get via(): string {
    return this.#options.via;
  }

  /** How many writes the store has acknowledged in this round. */
  get acknowledged(): number {
    return this.#observations.acknowledged;
  }

  /**
   * Begins a round: opens the store if it is closed, and lets the writers
   * write.
   */
  async begin(): Promise<void> {
    this.#observations = new Observations();
    this.#logged.clear();
    this.#faults = [];
    const storage = this.#storage ??= await this.#open();
    this.#rounds++;
    const ledger = this.#ledger;
    const seed = `${this.#options.seed}:${this.#rounds}`;
    this.#watched = new WatchedStorage({
      ...{ storage, ledger, payloads: this.#payloads, seed },
      observations: this.#observations,
    });
    this.#writers = new Writers({
      storage: this.#watched.storage,
      seed: this.#options.seed,
      streams: this.#options.streams,
      firstId: this.#rounds * idsPerRound + 1,
      listener: {
        begin: (call, operation) => ledger.begin(call, operation),
        end: (call, outcome) => ledger.end(call, outcome),
        observed: (stream, state) => ledger.observe(stream, state),
        broken: (error) => this.#break(error),
      },
    });
    this.#observations.begin();
    this.#writers.resume();
  }

  /**
   * Waits for more acknowledged writes. Resolves with false if they do not
   * come.
   */
  async more(count: number): Promise<boolean> {
    const target = this.acknowledged + count;
    const isThere = () => Promise.resolve(this.acknowledged >= target);
    return await until("Expected writes", recoveryLimitMs, isThere)
      .catch(() => false);
  }

  /**
   * Waits for more acknowledged writes after a promotion; adds a fault if none
   * come.
   */
  async recover(count: number): Promise<void> {
    if (await this.more(count)) return;
    this.#fault(
      `No writes within ${recoveryLimitMs / 1000} s after the promotion`,
    );
  }

  /** Waits for the calls in flight, and makes no more. */
  async stop(): Promise<void> {
    const writers = this.#writers;
    if (writers === undefined) return;
    this.#writers = undefined;
    this.#watched?.end();
    try {
      await within("Expected the calls to end", endLimitMs, writers.stop());
    } catch (error) {
      this.#fault(String(error));
    }
    this.#observations.closeGap();
  }

  /**
   * Compares the rows of the server at the URL with the results of the calls.
   */
  async check(
    url: string,
    { window, promotedAt }: { window: Window; promotedAt: number },
    checks: Checks,
  ): Promise<RoundOfStore> {
    const ledger = this.#ledger;
    ledger.allowLoss(window);
    const { contradictions } = ledger;
    ledger.lost = 0;
    ledger.lastLostAt = undefined;
    const before = { ...ledger.counts.unknown };
    contradictions.length = 0;
    const { schema } = this.#options;
    const ground = { url, schema, partitions };
    try {
      await ledger.finally(() =>
        checkStore(ground, ledger, this.#payloads, checks)
      );
    } catch (error) {
      this.#fault(String(error));
    }
    this.#faults.push(
      ...some(contradictions),
      ...some(this.#unexplainedRefusals()),
    );
    if (this.#storage?.signal.aborted) this.#fault("The store has stopped");
    const { there, absent } = ledger.counts.unknown;
    const lateMs = (ledger.lastLostAt ?? 0) - promotedAt;
    const round = {
      via: this.via,
      observations: this.#observations,
      lost: ledger.lost,
      unknown: { there: there - before.there, absent: absent - before.absent },
      lostAfterPromotionMs: lateMs > 0 ? lateMs : undefined,
      logged: Object.fromEntries(this.#logged),
      faults: this.#faults,
    };
    // The next round must not begin with a faulty store.
    if (this.#faults.length > 0) await this.#close();
    return round;
  }

  /** Ends the writers and closes the store. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#close();
  }

  /**
   * Opens the store, in some attempts: HAProxy may lead to a standby at first.
   */
  async #open(): Promise<PostgresStreamStorage> {
    const deadline = performance.now() + endLimitMs;
    for (;;) {
      try {
        return await this.#openOnce();
      } catch (error) {
        if (performance.now() > deadline) throw error;
        await delay(200);
      }
    }
  }

  async #openOnce(): Promise<PostgresStreamStorage> {
    const { url, schema } = this.#options;
    return await openStreamStorage({
      url,
      schema,
      partitions,
      applicationName: schema,
      startupDelayMs: 0,
      signal: AbortSignal.timeout(endLimitMs),
      logger: (event) => this.#log(event),
    });
  }

  #log({ code }: LogEvent): void {
    this.#logged.set(code, (this.#logged.get(code) ?? 0) + 1);
  }

  #break(error: unknown): void {
    const isOver = this.#writers === undefined;
    if (!isOver) this.#fault(`A writer ended: ${String(error)}`);
  }

  #fault(text: string): void {
    this.#faults.push(text);
  }

  /** Finds refusals of valid writes that no lost write explains. */
  #unexplainedRefusals(): string[] {
    const { refusals } = this.#observations;
    if (this.#ledger.lost > 0) return [];
    return refusals.map((text) => `Refused, though due: ${text}`);
  }

  async #close(): Promise<void> {
    const storage = this.#storage;
    this.#storage = undefined;
    if (storage === undefined) return;
    try {
      await within("Expected the store to close", endLimitMs, storage.close());
    } catch (error) {
      this.#fault(String(error));
    }
  }
}

/** Shortens a long list to a few texts and the number of the others. */
function some(texts: readonly string[]): string[] {
  if (texts.length <= fewFaults) return [...texts];
  const rest = `and ${texts.length - fewFaults} more of these`;
  return [...texts.slice(0, fewFaults), rest];
}
