/** Fails over again and again, and reports the results. */
import { setTimeout as delay } from "node:timers/promises";
import type { Checks } from "../../crash/checker.ts";
import { Random } from "../../../tests/support/random.ts";
import { PatroniCluster } from "./cluster.ts";
import { Load, type RoundOfStore } from "./load.ts";
import type { Window } from "./loss_ledger.ts";
import type { Member } from "./member.ts";
import { type Mode, planSteps, type ScenarioName, type Step } from "./plan.ts";
import { strike } from "./scenarios.ts";

/** How to run the failovers. */
export interface PatroniOptions {
  failovers: number;
  scenarios: readonly ScenarioName[];
  modes: readonly Mode[];
  seed: string;
  /** Streams of each store. */
  streams: number;
  /** Whether to keep the logs of all programs. */
  keep: boolean;
  /** Called before each step, and with its result. */
  onStep?(text: string): void;
}

/** The results of one failover for one store. */
export interface Round extends RoundOfStore, Step {
  /** Milliseconds from the blow to the promotion. */
  promotedAfterMs: number;
  /** The store's sessions on the former primary before it is healed. */
  sessionsInSplit: number | undefined;
  /** The store's sessions on the former primary when it is a standby. */
  sessionsLeft: number;
}

/** The result of a run. */
export interface PatroniReport {
  seed: string;
  failovers: number;
  rounds: Round[];
  checks: Checks;
  /** Acknowledged writes that synchronous replication lost. */
  lostInSync: number;
  /** Faults that no failover excuses, in any mode. */
  faults: string[];
  elapsedMs: number;
}

/** How many writes each store makes before the blow: at least and at most. */
const writesBefore = [100, 400] as const;
const writesAfter = 100;

/** How often to ask whether the former primary still takes writes. */
const watchMs = 50;

/** An upper bound of replication's lag and of our own, in milliseconds. */
const lagMs = 3000;

/** Runs all failovers. */
export async function failOverWithPatroni(
  options: PatroniOptions,
): Promise<PatroniReport> {
  const started = performance.now();
  const { seed, keep, onStep = () => {} } = options;
  const report: PatroniReport = {
    ...{ seed, failovers: 0, rounds: [], lostInSync: 0, faults: [] },
    checks: { rounds: 0, streams: 0, rows: 0, bytes: 0 },
    elapsedMs: 0,
  };
  await using cluster = await PatroniCluster.start(keep);
  if (keep) onStep(`Logs in ${cluster.dir}`);
  await using loads = openLoads(cluster, options);
  const random = new Random(seed);
  for (const step of planSteps(options)) {
    onStep(`${++report.failovers}: ${step.scenario}, ${step.mode}`);
    const rounds = await failOver(cluster, loads.all, step, random, report);
    for (const round of rounds) {
      onStep(`   ${summary(round)}`);
      for (const fault of round.faults) onStep(fault);
    }
    report.rounds.push(...rounds);
    account(report, rounds);
  }
  report.elapsedMs = performance.now() - started;
  return report;
}

/**
 * Opens the loads. Each member is the first host of one URL and the last of
 * another.
 */
function openLoads(
  cluster: PatroniCluster,
  { seed, streams }: PatroniOptions,
): AsyncDisposable & { all: Load[] } {
  const stack = new AsyncDisposableStack();
  const add = (via: string, schema: string, url: string) =>
    stack.use(
      new Load({ via, schema, url, seed: `${seed}:${schema}`, streams }),
    );
  const all = [
    add("a,b", "url_ab", cluster.urlOfBoth("a")),
    add("b,a", "url_ba", cluster.urlOfBoth("b")),
    add("haproxy", "haproxy", cluster.urlOfProxy),
  ];
  return { all, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function failOver(
  cluster: PatroniCluster,
  loads: readonly Load[],
  step: Step,
  random: Random,
  { checks }: PatroniReport,
): Promise<Round[]> {
  const { primary, standby } = await cluster.inStep(step.mode);
  await Promise.all(loads.map((load) => load.begin()));
  const writes = random.between(...writesBefore);
  for (const load of loads) {
    if (!await load.more(writes)) throw new Error("Expected a store to write");
  }
  await delay(random.between(0, 500));
  const end = watchEnd(primary);
  const struckAt = performance.now();
  const blow = await strike(step.scenario, cluster, primary, standby, random);
  await cluster.promoted(standby);
  const promotedAt = performance.now();
  await delay(blow.splitMs);
  await Promise.all(loads.map((load) => load.recover(writesAfter)));
  const inSplit = blow.splitMs > 0
    ? await sessionsOn(primary, loads)
    : undefined;
  await blow.heal();
  await cluster.inStep(step.mode);
  await Promise.all(loads.map((load) => load.recover(writesAfter)));
  const left = await sessionsOn(primary, loads);
  await Promise.all(loads.map((load) => load.stop()));
  const times = { promotedAt, window: windowOf(promotedAt, await end) };
  const rounds: Round[] = [];
  for (const load of loads) {
    const round = await load.check(standby.url("store"), times, checks);
    rounds.push({
      ...step,
      ...round,
      via: viaOf(round.via, primary),
      promotedAfterMs: promotedAt - struckAt,
      sessionsInSplit: inSplit && (inSplit.get(load.name) ?? 0),
      sessionsLeft: left.get(load.name) ?? 0,
    });
  }
  return rounds;
}

/** Resolves with the moment from which the primary takes no writes. */
async function watchEnd(primary: Member): Promise<number> {
  for (;;) {
    const answer = await primary.ask("pg_is_in_recovery()")
      .catch(() => undefined);
    if (answer !== false) return performance.now();
    await delay(watchMs);
  }
}

/**
 * The time in which a lost write can have been acknowledged: after replication
 * ended with the death of one server or the promotion of the other, and before
 * the former primary took its last write.
 */
function windowOf(promotedAt: number, endedAt: number): Window {
  return {
    from: Math.min(promotedAt, endedAt) - lagMs,
    until: endedAt + lagMs,
  };
}

function viaOf(via: string, primary: Member): string {
  if (via === "haproxy") return via;
  return via.startsWith(primary.name) ? "url, loser first" : "url, loser last";
}

/** Counts the sessions of each store on a server. */
async function sessionsOn(
  member: Member,
  loads: readonly Load[],
): Promise<Map<string, number>> {
  const names = loads.map(({ name }) => `'${name}'`).join();
  const rows = await member.query(
    `SELECT application_name AS name, count(*)::int AS count
      FROM pg_stat_activity WHERE application_name IN (${names}) GROUP BY 1`,
  );
  return new Map(rows.map(({ name, count }) => [String(name), Number(count)]));
}

function account(report: PatroniReport, rounds: readonly Round[]): void {
  for (const { scenario, mode, via, lost, faults } of rounds) {
    if (mode === "sync") report.lostInSync += lost;
    const where = `${report.failovers} ${scenario}, ${mode}, ${via}`;
    report.faults.push(...faults.map((text) => `${where}: ${text}`));
  }
}

function summary(round: Round): string {
  const { via, observations, lost, faults, promotedAfterMs } = round;
  const { acknowledged, longestStallMs, slowest, longestGapMs } = observations;
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  return `${via}: ${acknowledged} acknowledged, ${lost} lost, promoted after ` +
    `${seconds(promotedAfterMs)}, stall ${
      seconds(longestStallMs)
    } (${slowest}), gap ` +
    `${seconds(longestGapMs)}, ${faults.length} faults`;
}
