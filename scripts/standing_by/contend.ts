/**
 * Runs two instances that take the schema, and restarts each when it loses it.
 */
import { setTimeout as delay } from "node:timers/promises";
import { connectSession } from "../../src/database/driver.ts";
import { parseConnectionUrl } from "../../src/database/connection_target.ts";
import { dropSchema } from "../../src/database/migrations/mod.ts";
import { Instance } from "./instance.ts";

/** The result of a contention. */
export interface Contention {
  seconds: number;
  /** The part of the time in which one of them was writing. */
  share: number;
  /** How many times one of them has lost the schema to the other. */
  evictions: number;
}

/** Lets the two contend for the given seconds. */
export async function contend(options: {
  url: string;
  schema: string;
  startupDelayMs: number;
  seconds: number;
}): Promise<Contention> {
  const { url, schema, startupDelayMs, seconds } = options;
  const since = performance.now();
  const end = since + 1000 * seconds;
  let [worked, evictions, started] = [0, 0, 0];
  const isOver = delay(1000 * seconds);
  const restarted = async () => {
    while (performance.now() < end) {
      const name = (started++).toString(16).padStart(4, "0");
      await using one = new Instance({
        url,
        schema,
        whenOwned: "take",
        startupDelayMs,
        name,
      });
      let begun: number | undefined;
      void one.works().then(() => begun = performance.now(), () => {});
      const isStopped = one.stopped().then(() => true, () => false);
      const hasLost = await Promise.race([isStopped, isOver]) === true;
      if (begun !== undefined) {
        worked += Math.min(performance.now(), end) - begun;
        evictions += Number(hasLost);
      }
    }
  };
  try {
    await Promise.all([restarted(), restarted()]);
    return { seconds, share: worked / (end - since), evictions };
  } finally {
    await using session = await connectSession(parseConnectionUrl(url), {}, {
      preparedStatements: false,
      answerTimeoutMs: 60_000,
    });
    await dropSchema(session, schema);
  }
}
