/** Moves a schema again and again while a store writes to it. */
import { setTimeout as delay } from "node:timers/promises";
import {
  type LogEvent,
  openStreamReader,
  openStreamStorage,
} from "../../mod.ts";
import type { CitusCluster } from "../../tests/support/cluster/citus_cluster.ts";
import type { CitusNode } from "../../tests/support/cluster/citus_node.ts";
import { MovesLoad } from "./load.ts";

/** The ways of moving. */
export const ways = ["force_logical", "block_writes"] as const;

/** One move. */
export interface Move {
  way: typeof ways[number];
  /** Milliseconds that the move took. */
  tookMs: number;
  /** The longest time without an acknowledgement during the move. */
  pauseMs: number;
  /** The part of it in which the store looked for the schema. */
  searchMs: number;
}

/** The results of a schema's moves. */
export interface MovesReport {
  schema: string;
  moves: Move[];
  acknowledged: number;
  reads: number;
  failures: readonly string[];
  lost: readonly string[];
}

/** Opens a store on a distributed schema, and moves the schema a number of times. */
export async function moveUnderLoad(
  cluster: CitusCluster,
  { schema, moves, writers, rest }: {
    schema: string;
    moves: number;
    writers: number;
    rest: number;
  },
): Promise<MovesReport> {
  const { url } = cluster.coordinator;
  // With block_writes the pause lasts as long as the move, and calls must
  // survive it.
  const store = { url, schema, startupDelayMs: 0, operationTimeoutMs: 60_000 };
  let found = Promise.withResolvers<number>();
  const logger = ({ code, details }: LogEvent) => {
    if (code === "schema_moved") found.resolve(Number(details?.lostMs));
  };
  const done: Move[] = [];
  await using storage = await openStreamStorage({ ...store, logger });
  await using reader = await openStreamReader({
    url,
    schema,
    operationTimeoutMs: 60_000,
  });
  const load = new MovesLoad(storage, reader);
  await load.start(writers);
  for (let nth = 0; nth < moves; nth++) {
    await delay(rest);
    const way = ways[nth % ways.length]!;
    const to = await cluster.otherThan(schema);
    done.push(
      await inTurn(async () => {
        load.takePause();
        found = Promise.withResolvers();
        const tookMs = await moveAtLast(cluster, { schema, to, way });
        const searchMs = await Promise.race([
          found.promise,
          delay(limitMs, NaN, { ref: false }),
        ]);
        // The first answer from the new place ends the pause.
        await delay(Math.min(rest, 300));
        return { way, tookMs, pauseMs: load.takePause(), searchMs };
      }),
    );
  }
  await load.stop();
  const { acknowledged, reads, failures, lost } = load;
  return { schema, moves: done, acknowledged, reads, failures, lost };
}

let last: Promise<unknown> = Promise.resolve();

/** One move at a time, as Citus's own rebalancer does by default. */
function inTurn<T>(move: () => Promise<T>): Promise<T> {
  const done = last.then(move);
  last = done.catch(() => {});
  return done;
}

/** A store that has not found its schema by then finds it no more. */
const limitMs = 10_000;

/** How often a move is tried. */
const maxTries = 10;

/**
 * Moves a schema; the milliseconds that it took. Citus refuses to move a schema back while the old copies are still there: it gives
 * a second to the lock for dropping them, which autovacuum may hold.
 */
async function moveAtLast(
  cluster: CitusCluster,
  { schema, to, way }: { schema: string; to: CitusNode; way: Move["way"] },
): Promise<number> {
  for (let tries = 1;; tries++) {
    const since = performance.now();
    try {
      await cluster.move(schema, to, way);
      return performance.now() - since;
    } catch (error) {
      const isLeftOver = (error as Error).message.includes("cleaned up");
      if (!isLeftOver || tries === maxTries) throw error;
      await delay(1000);
    }
  }
}
