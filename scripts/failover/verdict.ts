/** Judges a trial at its end. */
import { BrokenPromise } from "../crash/ledger.ts";
import { checkStore } from "../crash/checker.ts";
import { SmallPayloads } from "./load.ts";
import type { Mode, Order } from "./pair.ts";
import { split } from "./probes.ts";
import { ground, type Trial } from "./trial.ts";

/** The result of one failover. */
export interface Outcome {
  scenario: string;
  mode: Mode;
  order: Order;
  variant: 0 | 1;
  seed: string;
  /** What is not as it should be; empty if everything is right. */
  faults: string[];
  acknowledged: number;
  reads: number;
  /** Acknowledged writes that are not stored. */
  lost: number;
  /** The lost writes by operation. */
  lostBy: Record<string, number>;
  unknown: { there: number; absent: number };
  failures: Record<string, number>;
  /** Valid writes that the store has refused for good. */
  refused: string[];
  /** Reads that lacked acknowledged writes. */
  staleReads: number;
  /**
   * Writes of unknown outcome that a read has shown, and that are not stored.
   */
  retracted: number;
  /**
   * Calls that began at the old primary after another had ended at the new one.
   */
  split: { reads: number; writes: number };
  stallMs: number;
  slowestMs: number;
  gapMs: number;
  /** The longest time between two answered reads. */
  readGapMs: number;
  /** Milliseconds from the promotion to the store's first write there. */
  movedMs: number | undefined;
  /** Milliseconds that the opening of a second store took. */
  openedMs: number | undefined;
  /**
   * Connections that the store still has to the old primary, and sessions
   * there.
   */
  left: { connections: number; sessions: number | undefined };
  /** Log events by code. */
  events: Record<string, number>;
  elapsedMs: number;
}

/** Ends the load, and compares the tables with the ledger and the probes. */
export async function judge(
  trial: Trial,
  mayLose: boolean,
  startedAt: number,
): Promise<Outcome> {
  const { ledger, account, faults, pair, options } = trial;
  await trial.rest();
  ledger.abandon();
  const left = await sessionsLeft(trial);
  await checkSurvivor(trial);
  const lostProbes = await trial.probes.lostOn(pair.standby);
  ledger.countUnknown();
  const { findings: { lost, staleLooks, retracted, broken } } = ledger;
  faults.push(...broken);
  const old = trial.oldCanBeAsked ? pair.primary : undefined;
  const both = split(await trial.probes.answers(pair.standby, old));
  const { scenario, mode, order, variant, seed } = options;
  const outcome: Outcome = {
    ...{ scenario, mode, order, variant, seed },
    faults,
    acknowledged: account.acknowledgedWrites,
    reads: account.reads,
    lost: lost.length + lostProbes,
    lostBy: countBy([
      ...lost.map(({ kind }) => kind),
      ...Array.from({ length: lostProbes }, () => "probe"),
    ]),
    unknown: ledger.counts.unknown,
    failures: account.failures,
    refused: account.refused,
    staleReads: staleLooks,
    retracted: retracted.length,
    split: {
      reads: both.filter(({ kind }) => kind === "read").length,
      writes: both.filter(({ kind }) => kind === "write").length,
    },
    stallMs: account.stallMs,
    slowestMs: account.slowestMs,
    gapMs: account.gapMs,
    readGapMs: account.readGapMs,
    movedMs: trial.movedMs,
    openedMs: trial.openedMs,
    left,
    events: countBy(eventsOf(trial)),
    elapsedMs: performance.now() - startedAt,
  };
  addFaults(trial, outcome, mayLose);
  return outcome;
}

function eventsOf({ stores }: Trial): string[] {
  return stores.flatMap(({ events }) => events.map(({ event }) => event.code));
}

function addFaults(trial: Trial, outcome: Outcome, mayLose: boolean): void {
  const { lost, lostBy, staleReads, refused, split, left, events } = outcome;
  const isLossless = lost === 0;
  trial.expect(
    isLossless || mayLose,
    `${lost} acknowledged writes are lost: ${JSON.stringify(lostBy)}`,
  );
  trial.expect(
    isLossless || !mayLose || events.commits_may_be_lost !== undefined,
    "Commits were lost, and the log does not say commits_may_be_lost",
  );
  trial.expect(
    !isLossless || staleReads === 0,
    `${staleReads} reads lacked acknowledged writes that are stored`,
  );
  trial.expect(
    !isLossless || refused.length === 0,
    `${refused.length} valid writes were refused, first ${refused[0]}`,
  );
  trial.expect(
    split.reads + split.writes === 0,
    `${split.reads} reads and ${split.writes} writes began at the old ` +
      "primary after another call had ended at the new one",
  );
  trial.expect(
    left.connections === 0,
    `${left.connections} connections to the old primary remain`,
  );
  trial.expect(
    lost <= trial.lossLimit,
    `${lost} writes are lost; expected at most ${trial.lossLimit}`,
  );
  const isStopped = trial.current.storage.signal.aborted;
  trial.expect(!isStopped, "The store has stopped");
}

async function checkSurvivor(trial: Trial): Promise<void> {
  const { pair, ledger, options, faults } = trial;
  const checks = { rounds: 0, streams: 0, rows: 0, bytes: 0 };
  const payloads = new SmallPayloads(options.seed);
  try {
    const where = { url: pair.standby.url, ...ground };
    await checkStore(where, ledger, payloads, checks);
  } catch (error) {
    if (!(error instanceof BrokenPromise)) throw error;
    faults.push(error.message);
  }
}

async function sessionsLeft({ pair, oldCanBeAsked }: Trial): Promise<
  Outcome["left"]
> {
  const connections = await pair.connectionsTo(pair.primary);
  if (!oldCanBeAsked) return { connections, sessions: undefined };
  const [row] = await pair.primary.query(
    `SELECT count(*) FROM pg_stat_activity
     WHERE application_name = 'stream-storage'`,
  );
  return { connections, sessions: Number(row?.count) };
}

function countBy(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}
