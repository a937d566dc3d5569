/** Runs the rounds; see arguments.ts. */
import { setTimeout as pause } from "node:timers/promises";
import { openStreamStorage, type StreamId } from "../../mod.ts";
import { dropSchema } from "../../src/database/migrations/mod.ts";
import { testDatabaseUrl } from "../../tests/support/database.ts";
import { openSession } from "../../tests/support/migration_connection.ts";
import { Random } from "../../tests/support/random.ts";
import type { Known } from "./actor.ts";
import { checkPlaces, checkStreams, type Scene, settle } from "./check.ts";
import { checkCounts, checkReport } from "./check_counts.ts";
import { checkTrimming } from "./check_trimming.ts";
import { type Child, startChild } from "./child.ts";
import { idsOf } from "./contents.ts";
import { type FaultyBucket, startFaultyBucket } from "./faulty_bucket.ts";
import { Ledger, type Message } from "./ledger.ts";
import { ownMemory } from "./memory.ts";
import type { Task } from "./store_process.ts";
import { clearing, cutting } from "./trimmed.ts";

/** The protocol of the bucket. */
export type Dialect = "s3" | "gcs";

/** How many rounds run, and what fails in them. */
export interface ChaosOptions {
  rounds: number;
  seed: string;
  dialects: Dialect[];
  streams: number;
  /** How many of 100 requests fail. */
  faults: number;
  onRound?(round: number, report: ChaosReport): void;
}

/** The result of a run. */
export interface ChaosReport {
  seed: string;
  rounds: number;
  kills: number;
  takeovers: number;
  ends: number;
  acknowledgedBlocks: number;
  /** Blocks that the checks of all rounds have read back. */
  comparedBlocks: number;
  /** Blocks and snapshots that the checks have found to be trimmed. */
  trimmed: Ledger["trimmed"];
  /** What the checks have trimmed themselves and counted exactly. */
  trimmedByCheck: Ledger["trimmed"];
  requests: number;
  faults: Record<string, number>;
  /** How many calls ended in which way, by name and outcome. */
  calls: Record<string, Record<string, number>>;
  /** Megabytes of this process after the first rounds and at the end. */
  rssMb: { start: number; end: number };
  /** The most megabytes of a process that ended in order. */
  childRssMb: number;
  seconds: number;
  /** What must not be; empty if everything is right. */
  broken: string[];
}

/** Runs all rounds, with a schema and a bucket for each dialect. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const start = performance.now();
  const report = newReport(options.seed);
  const random = new Random(`rounds ${options.seed}`);
  await using stack = new AsyncDisposableStack();
  const places: Place[] = [];
  for (const dialect of options.dialects) {
    const place = await Place.open(dialect, options, report);
    stack.use(place);
    places.push(place);
  }
  for (let round = 1; round <= options.rounds; round++) {
    await places[round % places.length]!.round(random, round);
    report.rounds = round;
    report.seconds = Math.round((performance.now() - start) / 1000);
    if (round === Math.min(10, options.rounds)) {
      report.rssMb.start = ownMemory().rssMb;
    }
    report.rssMb.end = ownMemory().rssMb;
    for (const place of places) place.count();
    options.onRound?.(round, report);
  }
  return report;
}

function add(sum: Ledger["trimmed"], more: Ledger["trimmed"]): void {
  sum.blocks += more.blocks;
  sum.snapshots += more.snapshots;
}

function newReport(seed: string): ChaosReport {
  return {
    seed,
    rounds: 0,
    kills: 0,
    takeovers: 0,
    ends: 0,
    acknowledgedBlocks: 0,
    comparedBlocks: 0,
    trimmed: { blocks: 0, snapshots: 0 },
    trimmedByCheck: { blocks: 0, snapshots: 0 },
    requests: 0,
    faults: {},
    calls: {},
    rssMb: { start: 0, end: 0 },
    childRssMb: 0,
    seconds: 0,
    broken: [],
  };
}

/** A schema, its bucket, and the ledger of both. */
class Place implements AsyncDisposable {
  readonly #url: string;
  readonly #schema = `chaos_${crypto.randomUUID().replaceAll("-", "")}`;
  readonly #options: ChaosOptions;
  readonly #report: ChaosReport;
  readonly #bucket: FaultyBucket;
  readonly #ledger = new Ledger();
  readonly #ids: StreamId[];
  #counted = {
    acknowledged: 0,
    requests: 0,
    faults: {} as Record<string, number>,
  };

  private constructor(
    dialect: Dialect,
    options: ChaosOptions,
    { url, report, bucket }: {
      url: string;
      report: ChaosReport;
      bucket: FaultyBucket;
    },
  ) {
    this.#url = url;
    this.#options = options;
    this.#report = report;
    this.#bucket = bucket;
    this.#ids = idsOf(`${options.seed} ${dialect}`, options.streams);
  }

  static async open(
    dialect: Dialect,
    options: ChaosOptions,
    report: ChaosReport,
  ): Promise<Place> {
    const random = new Random(`faults ${dialect} ${options.seed}`);
    const url = await testDatabaseUrl();
    const bucket = await startFaultyBucket(dialect, random);
    return new Place(dialect, options, { url, report, bucket });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#bucket[Symbol.asyncDispose]();
    await using session = await openSession(this.#url);
    await dropSchema(session, this.#schema);
  }

  async round(random: Random, round: number): Promise<void> {
    const seed = `${this.#options.seed} ${round}`;
    this.#bucket.setFaults(random.chance(15) ? 0 : this.#options.faults);
    const halves = [0, 1].map((half) =>
      this.#ids.filter((_, i) => i % 2 === half)
    );
    const first = this.#start(`${seed} first`, halves[0]!);
    await first.opened;
    await pause(random.between(50, 900));
    const children = [first];
    if (random.chance(50)) {
      this.#report.takeovers++;
      const second = this.#start(`${seed} second`, halves[1]!);
      await second.opened;
      await pause(random.between(50, 900));
      children.push(second);
    }
    // A process that was overtaken must notice it and end.
    for (const child of children.toReversed()) await this.#end(child, random);
    await this.#check(round, random);
  }

  #start(seed: string, authored: StreamId[]): Child {
    const known = authored.map((id): Known => ({
      id,
      version: this.#ledger.of(id).version,
      blocks: this.#ledger.of(id).blocks,
      next: this.#ledger.next(id),
    }));
    const task: Task = {
      url: this.#url,
      schema: this.#schema,
      mediaStorage: this.#bucket.options,
      seed,
      authored: known,
      ids: this.#ids,
    };
    const receive = (message: Message) => this.#receive(message);
    return startChild("store_process.ts", task, receive);
  }

  async #end(child: Child, random: Random): Promise<void> {
    if (random.chance(70)) {
      // At any moment, or during a request of some kind.
      const at = ["", "GET", "PUT", "DELETE", "HEAD"][random.between(0, 4)]!;
      const isAfter = random.chance(50);
      if (at !== "") {
        const held = this.#bucket.holdNext(at, isAfter);
        await Promise.race([held, child.ended, pause(2000)]);
      }
      this.#report.kills++;
      child.kill();
    } else {
      this.#report.ends++;
      child.stop();
    }
    const late = setTimeout(() => {
      this.#broken("a process did not end within a minute");
      child.kill();
    }, 60_000);
    await child.ended;
    clearTimeout(late);
  }

  #receive(message: Message): void {
    this.#ledger.apply(message);
    const { calls } = this.#report;
    if (message.what === "broken") this.#broken(message.text);
    else if (message.what === "rss") {
      this.#report.childRssMb = Math.max(this.#report.childRssMb, message.mb);
    } else if (message.what === "call") {
      const outcomes = calls[message.name] ??= {};
      outcomes[message.outcome] = (outcomes[message.outcome] ?? 0) + 1;
    }
  }

  #broken(text: string): void {
    const { rounds, broken } = this.#report;
    if (broken.length < 100) broken.push(`round ${rounds + 1}: ${text}`);
  }

  async #check(round: number, random: Random): Promise<void> {
    this.#bucket.setFaults(0);
    await this.#bucket.quiet();
    await using storage = await openStreamStorage({
      url: this.#url,
      schema: this.#schema,
      mediaStorage: this.#bucket.options,
      partitions: 1,
      startupDelayMs: 0,
      maxConnections: 4,
      workerConcurrency: 0,
    });
    const scene: Scene = {
      url: this.#url,
      schema: this.#schema,
      storage,
      bucket: this.#bucket,
      ledger: this.#ledger,
      ids: this.#ids,
      broken: (text) => this.#broken(text),
    };
    const before = { ...this.#ledger.trimmed };
    await checkStreams(scene);
    const { trimmed } = this.#ledger;
    add(this.#report.trimmed, {
      blocks: trimmed.blocks - before.blocks,
      snapshots: trimmed.snapshots - before.snapshots,
    });
    await checkReport(scene);
    const isLast = round === this.#options.rounds;
    // Only sometimes, so that trimming also runs during the next round.
    if (round % 3 === 0 || isLast) {
      const rules = random.chance(50) ? cutting : clearing;
      add(this.#report.trimmedByCheck, await checkTrimming(scene, rules));
    }
    await settle(scene);
    this.#report.comparedBlocks += await checkStreams(scene);
    await checkPlaces(scene);
    await checkReport(scene);
    if (round % 5 === 0 || isLast) await checkCounts(scene);
  }

  /** Adds the counts since the last call. */
  count(): void {
    const { requests, faults } = this.#bucket;
    const { acknowledged } = this.#ledger;
    const before = this.#counted;
    this.#report.acknowledgedBlocks += acknowledged - before.acknowledged;
    this.#report.requests += requests - before.requests;
    for (const [kind, n] of Object.entries(faults)) {
      const more = n - (before.faults[kind] ?? 0);
      this.#report.faults[kind] = (this.#report.faults[kind] ?? 0) + more;
    }
    this.#counted = { acknowledged, requests, faults: { ...faults } };
  }
}
