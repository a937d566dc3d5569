import { setTimeout as delay } from "node:timers/promises";
import { faulty } from "./faulty.ts";
import type { Mode, Order } from "./pair.ts";
import type { Trial } from "./trial.ts";

/** A way to fail over, and what must hold. */
export interface Scenario {
  /** What happens, for the reader of the report. */
  title: string;
  modes: readonly Mode[];
  orders: readonly Order[];
  /** Whether acknowledged writes may be lost. */
  mayLose(mode: Mode): boolean;
  /** Fails over. The servers run before; the store has recovered afterwards. */
  run(trial: Trial): Promise<void>;
}

const modes = ["sync", "async"] as const;
const orders = ["primary first", "standby first"] as const;

/** Correct failovers, with one primary at a time. */
const orderly: Record<string, Scenario> = {
  crash: {
    title: "the primary is killed, the standby promoted",
    modes,
    orders,
    mayLose: (mode) => mode === "async",
    async run(trial) {
      await trial.openUnderLoad();
      await trial.replicate();
      await trial.pair.primary.kill();
      trial.limitLoss();
      await delay(trial.random.mostlySmall(0, 2000));
      await trial.promote();
      if (await trial.moved(15_000)) await trial.more(300);
    },
  },
  switchover: {
    title: "the primary is stopped, the standby promoted, the other rejoins it",
    modes,
    orders,
    mayLose: () => false,
    async run(trial) {
      const { pair, options } = trial;
      await trial.openUnderLoad();
      await pair.primary.stop();
      await trial.promote();
      await trial.moved(15_000);
      await pair.rejoin();
      if (options.mode === "sync") await pair.waitForStandby(pair.standby);
      await trial.more(300);
    },
  },
};

/** All scenarios by name. */
export const scenarios: Readonly<Record<string, Scenario>> = {
  ...orderly,
  ...faulty,
};
