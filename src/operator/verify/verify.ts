/**
 * Verifies a schema. A verification only reads, in pages, each on a snapshot of
 * its own, so it can run while a store or a node is at work. Every suspect is
 * examined again by itself before it is reported.
 */

import { operationError } from "../../database/failures.ts";
import { openReadCore } from "../../postgres/open_reader.ts";
import type { ReadCore } from "../../postgres/read_core.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import { invalidArgument } from "../../storage/fault.ts";
import {
  parseStreamId,
  partitionSuffix,
  type StreamId,
  streamType,
} from "../../storage/stream_id.ts";
import { acknowledging } from "./acknowledged.ts";
import { archivePolicyOf } from "./archives.ts";
import { type Catalogue, lookAtCatalogue } from "./catalogue.ts";
import { DeepEvidence } from "./deep/suspects.ts";
import type { Finding, VerifySummary } from "./findings.ts";
import { type Ground, templatesFor } from "./ground.ts";
import {
  type Job,
  type JobContext,
  jobOverGiven,
  jobOverPartition,
  jobOverStreams,
  runJobs,
  type Step,
} from "./jobs.ts";
import type { VerifyLevel } from "./level.ts";
import type { VerifyOptions } from "./options.ts";
import { newState, resumedState, type VerifyState } from "./state.ts";
import { Throttle } from "./throttle.ts";
import { knownStreams } from "./walk.ts";

const operation = "verify";

/**
 * Looks for faults in a schema, and yields each finding as it is made.
 *
 * ```ts
 * import { verify } from "@towns/stream-storage/operator";
 *
 * const run = verify({ url, schema: storage.schema, level: "deep" });
 * for await (const finding of run) console.log(JSON.stringify(finding));
 * console.log(JSON.stringify({ summary: run.summary }));
 * ```
 *
 * @throws {StreamStorageError} while it is iterated: as `openStreamReader`;
 *   `INVALID_ARGUMENT`, `NOT_FOUND`: for one of `streamIds`; `CANCELED`: the
 *   signal.
 */
export function verify(options: VerifyOptions): Verification {
  return new Verification(options);
}

/** A verification; iterate it once. */
export class Verification implements AsyncIterable<Finding> {
  readonly #options: VerifyOptions;
  readonly #level: VerifyLevel;
  readonly #state: VerifyState;
  readonly #isKnown: (finding: Finding) => boolean;
  readonly #evidence: DeepEvidence;
  /**
   * The findings on unfinished pages. A resumed run examines these pages again,
   * so the state must not count the findings yet.
   */
  readonly #pages = new Map<string, FindingCounts>();
  /** The last state at which no fault was held back. */
  #resumable: VerifyState;
  #startedAt: number | undefined;
  #bytes = 0;

  /** See {@linkcode verify}. */
  constructor(options: VerifyOptions) {
    checkOptions(options);
    const { level = "structure", schema, resume } = options;
    this.#options = options;
    this.#level = level;
    this.#state = resume === undefined
      ? newState({ level, schema })
      : resumedState(resume, { level, schema });
    this.#resumable = structuredClone(this.#state);
    this.#evidence = new DeepEvidence(this.#state.seen);
    this.#isKnown = acknowledging(options.acknowledged);
  }

  /** The totals so far; when the iteration has ended, of the whole run. */
  get summary(): Readonly<VerifySummary> {
    const counts = { ...this.#state.counts };
    for (const page of this.#pages.values()) add(counts, page);
    return counts;
  }

  /** The state from which a later run can continue. */
  get state(): VerifyState {
    return structuredClone(this.#resumable);
  }

  /** The findings, as they are made. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Finding, void, undefined> {
    const { signal } = this.#options;
    const before = this.#state.counts.seconds;
    this.#startedAt = performance.now() - before * 1000;
    try {
      const core = await openReadCore(readerOptions(this.#options), {
        mayLackTables: true,
      });
      try {
        yield* this.#findings(core);
      } finally {
        this.#tick();
        await core.close();
      }
    } catch (error) {
      throw operationError(operation, error, signal);
    }
  }

  async *#findings(core: ReadCore): AsyncGenerator<Finding> {
    const { signal } = this.#options;
    const read: Ground["read"] = (bound) =>
      core.transactions.read({ name: operation, signal }, bound);
    const { catalog } = core;
    const catalogue = await lookAtCatalogue({ catalog, read }, core.schema);
    const isSome = this.#options.streamIds !== undefined;
    if (!this.#state.isCatalogueDone && !isSome) {
      yield* this.#news(catalogue.findings, this.#state.counts);
    }
    this.#state.isCatalogueDone = true;
    const ground = this.#groundOf(core, read, catalogue);
    const jobs = await this.#jobsOf(core, ground, catalogue);
    yield* this.#run(jobs);
  }

  #groundOf(
    core: ReadCore,
    read: Ground["read"],
    { readable }: Catalogue,
  ): Ground {
    const { archives = archivePolicyOf(core.schema) } = this.#options;
    const own = {
      deletions: readable.has("stream_storage_deletions"),
      mediaTasks: readable.has("stream_storage_media_tasks"),
    };
    return {
      catalog: core.catalog,
      read,
      archives,
      templates: {
        regular: templatesFor({ ...own, external: false }),
        media: templatesFor({ ...own, external: true }),
      },
    };
  }

  async #jobsOf(
    core: ReadCore,
    ground: Ground,
    { usable }: Catalogue,
  ): Promise<Job[]> {
    const { types, rate, signal, since } = this.#options;
    const context: JobContext = {
      ground,
      choice: choiceOf(types),
      throttle: new Throttle(rate),
      signal,
      deep: this.#level !== "deep" ? undefined : {
        evidence: this.#evidence,
        since: since === undefined ? undefined : BigInt(since),
        objects: core.media === undefined ? undefined : { store: core, signal },
      },
    };
    const given = this.#options.streamIds?.map(parseStreamId);
    if (given !== undefined) return await jobsOverGiven(context, given, usable);
    const overStreams = jobOverStreams(context, usable);
    if (this.#level === "quick") return [overStreams];
    const suffixes = [...usable].filter((suffix) => mayHold(suffix, types));
    return [
      overStreams,
      ...suffixes.map((suffix) => jobOverPartition(context, suffix)),
    ];
  }

  async *#run(jobs: readonly Job[]): AsyncGenerator<Finding> {
    const { concurrency, maxConnections = 4 } = this.#options;
    const { done, cursors } = this.#state;
    const left = jobs.filter(({ name }) => !done.includes(name));
    const steps = runJobs(left, {
      concurrency: concurrency ?? maxConnections,
      cursorOf: ({ name }) => cursors[name] ?? "",
    });
    for await (const step of steps) {
      this.#bytes += step.bytes;
      yield* this.#news(step.findings, this.#pageOf(step.job.name));
      if (step.page === undefined) continue;
      this.#advance(step.job.name, step.page);
      this.#keep();
      this.#notify(jobs.length);
    }
  }

  #pageOf(name: string): FindingCounts {
    const counts = this.#pages.get(name) ?? noFindings();
    this.#pages.set(name, counts);
    return counts;
  }

  #advance(name: string, page: NonNullable<Step["page"]>): void {
    const { counts, cursors, done } = this.#state;
    add(counts, this.#pageOf(name));
    this.#pages.delete(name);
    counts.streams += page.streams;
    counts.blocks += Number(page.blocks);
    counts.events += Number(page.events);
    if (page.next === undefined) {
      done.push(name);
      delete cursors[name];
    } else cursors[name] = page.next;
  }

  /**
   * Keeps the state, unless faults are held back. No state holds those, so a
   * later run has to find them again.
   */
  #keep(): void {
    this.#tick();
    if (this.#evidence.unreported > 0) return;
    this.#state.seen = this.#evidence.seen;
    this.#resumable = structuredClone(this.#state);
  }

  #notify(total: number): void {
    this.#options.onProgress?.({
      done: this.#state.done.length,
      total,
      counts: this.summary,
      bytes: this.#bytes,
      state: this.state,
    });
  }

  #tick(): void {
    const ms = performance.now() - this.#startedAt!;
    this.#state.counts.seconds = Math.round(ms) / 1000;
    this.#state.counts.unjudged = this.#evidence.unreported;
  }

  /** Counts findings, and yields those that were not acknowledged. */
  *#news(
    findings: readonly Finding[],
    counts: FindingCounts,
  ): Generator<Finding> {
    for (const finding of findings) {
      const isKnown = this.#isKnown(finding);
      counts[isKnown ? "acknowledged" : `${finding.severity}s` as const]++;
      if (!isKnown) yield finding;
    }
  }
}

type FindingCounts = Pick<VerifySummary, typeof findingCounts[number]>;

const findingCounts = ["errors", "warnings", "notes", "acknowledged"] as const;

const noFindings = (): FindingCounts => ({
  errors: 0,
  warnings: 0,
  notes: 0,
  acknowledged: 0,
});

function add(counts: FindingCounts, more: FindingCounts): void {
  for (const name of findingCounts) counts[name] += more[name];
}

const levels: readonly VerifyLevel[] = ["quick", "structure", "deep"];

function checkOptions(
  { level, since, rate, concurrency }: VerifyOptions,
): void {
  if (level !== undefined && !levels.includes(level)) {
    throw invalidArgument({
      argument: "level",
      reason: "bad_level",
      rule: `must be one of ${levels.join(", ")}`,
    }).withOperation(operation);
  }
  const isCount = (value: number) => Number.isSafeInteger(value) && value > 0;
  const isRate = (value: number) => value > 0;
  const rules = [
    ["since", since, isCount, "must be a whole number above 0"],
    ["concurrency", concurrency, isCount, "must be a whole number above 0"],
    ["rate", rate, isRate, "must be a number of bytes above 0"],
  ] as const;
  for (const [argument, value, isGood, rule] of rules) {
    if (value === undefined || isGood(value)) continue;
    throw invalidArgument({
      argument,
      reason: "out_of_range",
      rule,
      received: value,
    }).withOperation(operation);
  }
}

/** The options that are passed on to the reader, which refuses unknown ones. */
function readerOptions(options: VerifyOptions) {
  const {
    level: _level,
    streamIds: _streamIds,
    types: _types,
    since: _since,
    acknowledged: _acknowledged,
    archives: _archives,
    rate: _rate,
    concurrency: _concurrency,
    resume: _resume,
    onProgress: _onProgress,
    ...reader
  } = options;
  return {
    applicationName: "stream-verify",
    // The figures of a stream of millions of blocks take long.
    operationTimeoutMs: 600_000,
    ...reader,
  };
}

function choiceOf(types: VerifyOptions["types"]) {
  return types === undefined
    ? () => true
    : (streamId: StreamId) => types.includes(streamType(streamId));
}

/**
 * Whether a partition may hold these types: media streams have their own ones.
 */
function mayHold(suffix: string, types: VerifyOptions["types"]): boolean {
  if (types === undefined) return true;
  return suffix.startsWith("m")
    ? types.includes("media")
    : types.some((type) => type !== "media");
}

/** @throws {StreamStorageError} one of the streams does not exist. */
async function jobsOverGiven(
  context: JobContext,
  streamIds: readonly StreamId[],
  usable: ReadonlySet<string>,
): Promise<Job[]> {
  const { partitions } = context.ground.catalog;
  const bySuffix = Map.groupBy(
    new Set(streamIds),
    (id) => partitionSuffix(id, partitions),
  );
  const jobs: Job[] = [];
  for (const [suffix, ids] of bySuffix) {
    if (usable.has(suffix)) jobs.push(jobOverGiven(context, suffix, ids));
  }
  const known = await knownStreams(context.ground, streamIds);
  const unknown = streamIds.find((id) => !known.has(id));
  if (unknown !== undefined) throw streamNotFound(unknown);
  return jobs;
}
