/** What happens to the primary. */
import type { Random } from "../../../tests/support/random.ts";
import type { PatroniCluster } from "./cluster.ts";
import type { Member } from "./member.ts";
import type { ScenarioName } from "./plan.ts";

/** What was done to the primary, and how to undo it. */
export interface Blow {
  /** How long both servers take writes, at least, in milliseconds. */
  splitMs: number;
  /** Lets the former primary come back. */
  heal(): Promise<void> | void;
}

/**
 * Longer than the interval at which a store checks its server. So the run shows
 * whether the store leaves a former primary by itself.
 */
const splitMs = 12_000;

type Strike = (
  cluster: PatroniCluster,
  primary: Member,
  standby: Member,
  random: Random,
) => Promise<Blow>;

const nothing: Blow = { splitMs: 0, heal: () => {} };

const strikes: Record<ScenarioName, Strike> = {
  "postgres-killed": async (_, primary) => {
    await primary.killPostmaster();
    return nothing;
  },
  "both-killed": async (_, primary) => {
    await primary.killAll();
    return { splitMs: 0, heal: () => primary.start() };
  },
  "switchover": async (cluster, primary, standby) => {
    await cluster.switchover(primary, standby);
    return nothing;
  },
  "etcd-cut": async (_cluster, primary, _standby, random) => {
    await primary.cutFromEtcd(random.chance(50) ? "silence" : "refusal");
    return { splitMs: 0, heal: () => primary.healEtcd() };
  },
  "patroni-frozen": (_, primary) => {
    primary.freezePatroni();
    return Promise.resolve({ splitMs, heal: () => primary.replacePatroni() });
  },
};

/** Strikes the primary. */
export function strike(
  scenario: ScenarioName,
  ...rest: Parameters<Strike>
): Promise<Blow> {
  return strikes[scenario](...rest);
}
