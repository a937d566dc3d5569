import { setTimeout as delay } from "node:timers/promises";
import type { Scenario } from "./scenarios.ts";
import type { Trial } from "./trial.ts";

/** How often an owner checks its row, in milliseconds. */
const beatMs = 5000;
/** The default of operationTimeoutMs, which also limits a statement. */
const statementTimeoutMs = 5000;
/** How much longer the store waits for an answer. */
const graceMs = 1000;
/** The pools' connect timeout with two hosts. */
const connectTimeoutMs = 2500;
/** How much a busy machine may add. */
const slackMs = 2000;

const lossless = () => false;
const bothOrders = ["primary first", "standby first"] as const;
const failingFirst = ["primary first"] as const;

/** Failovers in which the old primary is alive, or may be. */
export const faulty: Readonly<Record<string, Scenario>> = {
  frozen: {
    title: "the primary is frozen, the standby promoted, the other thawed",
    modes: ["sync", "async"],
    orders: bothOrders,
    mayLose: (mode) => mode === "async",
    async run(trial) {
      const { pair, options, random } = trial;
      await trial.openUnderLoad();
      await trial.replicate();
      await pair.primary.freeze();
      await trial.promote();
      // Either before or after the store has given up sessions to the old
      // primary.
      if (options.variant === 0) await trial.moved(20_000);
      else await delay(random.between(500, 4000));
      await pair.primary.thaw();
      trial.oldCanBeAsked = true;
      if (options.variant === 1) await trial.moved(20_000);
      trial.limitLoss();
      await delay(beatMs + slackMs);
      await trial.more(300);
    },
  },
  "sync-backend-ends": {
    title: "writes wait for the standby, and their backends end",
    modes: ["sync"],
    orders: bothOrders,
    mayLose: lossless,
    async run(trial) {
      const { pair, random, options } = trial;
      await trial.openUnderLoad();
      await pair.cut("replication");
      const end = ["pg_terminate_backend", "pg_cancel_backend"][
        options.variant
      ];
      for (let round = 0; round < 5; round++) {
        await pair.primary.until(
          "EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep')",
        );
        await delay(random.between(50, 500));
        await pair.primary.query(
          `SELECT ${end}(pid) FROM pg_stat_activity
           WHERE wait_event = 'SyncRep'`,
        );
      }
      // What the store acknowledges now must also be stored at the other
      // server.
      await delay(random.between(500, 2000));
      await pair.primary.kill();
      await trial.promote();
      if (await trial.moved(15_000)) await trial.more(300);
    },
  },
  "never-leaves": {
    title: "the primary waits for its standby, which is promoted",
    modes: ["sync"],
    orders: failingFirst,
    mayLose: lossless,
    async run(trial) {
      const { pair } = trial;
      trial.oldCanBeAsked = true;
      await trial.openUnderLoad();
      await pair.cut("replication");
      await trial.promote();
      if (await trial.moved(15_000)) await trial.more(300);
    },
  },
  "split-brain": {
    title: "the standby is promoted, and the primary goes on",
    modes: ["async"],
    orders: bothOrders,
    mayLose: () => true,
    async run(trial) {
      const { pair } = trial;
      trial.oldCanBeAsked = true;
      await trial.openUnderLoad();
      await trial.replicate();
      await pair.cut("replication");
      await trial.promote();
      if (await trial.moved(beatMs + slackMs + graceMs)) trial.limitLoss();
      await trial.more(300);
    },
  },
  opening: {
    title: "a store opens while the primary waits for its promoted standby",
    modes: ["sync"],
    orders: failingFirst,
    mayLose: lossless,
    run: runOpening,
  },
  silence: {
    title: "packets to the primary are dropped, the standby is promoted",
    modes: ["sync", "async"],
    orders: failingFirst,
    mayLose: (mode) => mode === "async",
    run: runSilence,
  },
  "lost-row": {
    title: "the row of the owner itself is lost",
    modes: ["async"],
    orders: bothOrders,
    mayLose: () => true,
    run: runLostRow,
  },
};

/**
 * Opens a second store. In half of the runs the first store is closed, in the
 * other half it is at work.
 */
async function runOpening(trial: Trial): Promise<void> {
  const { pair, options } = trial;
  trial.oldCanBeAsked = true;
  await trial.openUnderLoad();
  await pair.cut("replication");
  await pair.primary.until(
    "EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep')",
  );
  let isClosed = options.variant !== 0;
  if (!isClosed) {
    await trial.rest();
    // Closing removes the row, which also waits for the standby.
    void trial.current.storage.close().catch(() => {})
      .finally(() => isClosed = true);
    await delay(1000);
  }
  await trial.promote();
  const limitMs = 20_000;
  const opening = performance.now();
  try {
    const second = await trial.open({ signal: AbortSignal.timeout(limitMs) });
    trial.openedMs = performance.now() - opening;
    await trial.use(second);
    if (await trial.moved(10_000)) await trial.more(300);
  } catch (error) {
    trial.faults.push(`A second store could not be opened: ${error}`);
  }
  // Closing has its own time limit for a server that does not answer.
  await trial.within(20_000, "the end of closing", () => isClosed);
}

async function runSilence(trial: Trial): Promise<void> {
  const { pair } = trial;
  trial.oldCanBeAsked = true;
  await trial.openUnderLoad();
  await trial.replicate();
  const cutAt = performance.now();
  await pair.cut("stores");
  await pair.cut("replication");
  await trial.promote();
  const moved = await trial.moved(20_000);
  trial.limitLoss();
  await trial.within(
    10_000,
    "a lock session at the new primary",
    () => trial.eventsOf("ownership_session_back").length > 0,
  );
  const back = trial.eventsOf("ownership_session_back")[0];
  const silenceMs = statementTimeoutMs + graceMs;
  trial.expect(
    back === undefined ||
      back.at - cutAt < silenceMs + connectTimeoutMs + slackMs,
    `The lock session took ${seconds((back?.at ?? 0) - cutAt)} to come back`,
  );
  if (moved) await trial.more(300);
  await trial.rest();
  const { gapMs, readGapMs } = trial.account;
  trial.expect(
    Math.max(gapMs, readGapMs) < silenceMs + slackMs,
    `No write was acknowledged for ${seconds(gapMs)}, ` +
      `no read answered for ${seconds(readGapMs)}`,
  );
  const opening = performance.now();
  const other = await trial.open({ schema: "other" });
  trial.openedMs = performance.now() - opening;
  await other.storage.close();
  trial.expect(
    trial.openedMs < 2 * connectTimeoutMs + slackMs,
    `A second store took ${seconds(trial.openedMs)} to open`,
  );
}

async function runLostRow(trial: Trial): Promise<void> {
  const { pair } = trial;
  // Makes the schema on both servers.
  const first = await trial.open();
  await first.storage.close();
  await pair.catchUp();
  await pair.cut("replication");
  await trial.openUnderLoad();
  await pair.primary.kill();
  await trial.promote();
  const { account } = trial;
  const before = account.acknowledgedWrites;
  const { signal } = trial.current.storage;
  await trial.within(
    20_000,
    "the store to notice",
    () => signal.aborted || account.acknowledgedWrites > before + 20,
  );
  for (const { event } of trial.eventsOf("ownership_lost")) {
    trial.expect(
      !/another instance/i.test(event.message),
      `Unexpected log event about the lost row: ${event.message}`,
    );
  }
  if (signal.aborted) await trial.use(await trial.open());
  await trial.more(300);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
