/**
 * Moves a store's schema from one worker node of a Citus cluster to another.
 *
 *     plan → move (one statement) → moved
 *              │ the signal aborts, or the statement fails
 *              └→ the server has let go → where is it? → error
 *
 * Citus moves a schema in one statement. Until that commits, the schema stays
 * where it was, even if this process dies, and Citus removes an unfinished
 * copy. A signal can arrive while it commits. So after an abort we look up
 * where the schema is, and the error says so.
 */

import { PgError } from "../../database/pg_error.ts";
import type { Session } from "../../database/session.ts";
import { bind } from "../../database/statement.ts";
import { atMost } from "../../storage/at_most.ts";
import { canceled } from "../../storage/contract_errors.ts";
import { StreamStorageError } from "../../storage/errors.ts";
import { quoted } from "../../storage/foreign_text.ts";
import { type ServerOptions, withSession } from "../session.ts";
import { type Queries, readCluster, workerName } from "./cluster.ts";
import { moveSchema, selectMoveProgress } from "./cluster_sql.ts";
import { type MoveMode, type MovePlan, planMove } from "./plan_move.ts";

/** The progress of a move. */
export interface MoveProgress {
  /** Bytes on the new worker node. */
  done: bigint;
  /** Bytes to be copied; undefined until Citus reports them. */
  total: bigint | undefined;
  /** The present step, in Citus's words. */
  step: string | undefined;
}

/** The options of {@linkcode moveStore}. */
export interface MoveStoreOptions extends ServerOptions {
  /** The store's schema. */
  schema: string;
  /**
   * The new worker node, as `HOST:PORT` with the name that the cluster's
   * servers use. The host alone is enough if only one worker node has it.
   */
  to: string;
  /**
   * `logical` copies the rows while the store is used, and blocks writes only
   * at the end. With `block-writes` every write waits until the move has ended,
   * and the tables need no replica identity. Default `logical`.
   */
  mode?: MoveMode;
  /** Called about once a second with the progress. */
  onProgress?: (progress: MoveProgress) => void;
}

/** The result of {@linkcode moveStore}. */
export interface MoveReport {
  /** The store's schema. */
  schema: string;
  /** The worker node that had the store, as `HOST:PORT`. */
  from: string;
  /** The worker node that has the store now. */
  to: string;
  /** The mode of the move. */
  mode: MoveMode;
  /**
   * Bytes of its tables and indexes before the move; null if its worker node
   * was not reached.
   */
  bytes: bigint | null;
  /** Seconds that the move took. */
  seconds: number;
}

const operation = "moveStore";
/** Terabytes take hours. A dead connection is detected sooner. */
const longestMs = 7 * 24 * 60 * 60 * 1000;
const askEveryMs = 1000;

const citusModes = {
  "logical": "force_logical",
  "block-writes": "block_writes",
} as const satisfies Record<MoveMode, string>;

/**
 * Moves a store to another worker node of its cluster while the store is used.
 * The address must be the coordinator's. If the signal aborts, the store stays
 * where it was, unless the move has been committed already. `details.worker` of
 * the error names the worker node that has the store.
 *
 * ```ts
 * import { moveStore } from "@towns/stream-storage/operator";
 *
 * const { from, to, seconds } = await moveStore({
 *   url,
 *   schema,
 *   to: "worker-2.internal:5432",
 * });
 * console.log(from, to, seconds);
 * ```
 *
 * @throws {StreamStorageError} as `openStreamReader`; BAD_CONFIG and
 *   FAILED_PRECONDITION: why the store can't be moved; CANCELED.
 */
export async function moveStore(
  { schema, to, mode = "logical", onProgress, signal, ...options }:
    MoveStoreOptions,
): Promise<MoveReport> {
  const server = { ...options, schema };
  const plan = await withSession(
    operation,
    { ...server, ...(signal && { signal }) },
    (session) => planMove(session, { schema, to, mode }),
  );
  // Without the signal, because this session still has to find out where the
  // store is.
  return await withSession(operation, server, async (watcher) => {
    const move = withSession(
      operation,
      { ...server, statementMs: longestMs, ...(signal && { signal }) },
      (mover) => makeMove(mover, plan),
    );
    const ended = move.then(() => {}, () => {});
    const watched = onProgress && watchMove(watcher, plan, ended, onProgress);
    try {
      return await move;
    } catch (error) {
      await watched;
      if (!signal?.aborted) throw error;
      throw await interruption(watcher, plan, signal.reason);
    } finally {
      await watched;
    }
  });
}

/** The session that makes a move. */
export type Mover = Queries & Pick<Session, "usable" | "released">;

/** Makes the move, and returns when the schema is in its new place. */
export async function makeMove(
  mover: Mover,
  { schema, mode, from, to, bytes }: MovePlan,
): Promise<MoveReport> {
  const started = performance.now();
  try {
    await mover.run([
      bind(moveSchema, schema, to.host, to.port, citusModes[mode]),
    ]);
  } catch (error) {
    // Until the server has ended the statement, the schema may still move.
    if (!mover.usable) await mover.released;
    throw isLeftover(error) ? leftover({ schema, to }, error) : error;
  }
  return {
    schema,
    from: workerName(from),
    to: workerName(to),
    mode,
    bytes,
    seconds: Math.round(performance.now() - started) / 1000,
  };
}

/**
 * Whether a leftover of an earlier move is in the way. Citus has no SQLSTATE
 * for that, but the routine's name does not depend on the language.
 */
function isLeftover(error: unknown): boolean {
  return error instanceof PgError &&
    error.routine === "ErrorIfCleanupRecordForShardExists";
}

function leftover(
  { schema, to }: Pick<MovePlan, "schema" | "to">,
  cause: unknown,
): StreamStorageError {
  const worker = workerName(to);
  return new StreamStorageError({
    code: "FAILED_PRECONDITION",
    message: `${worker} still has leftovers of an earlier move of schema ` +
      `${quoted(schema)}: Citus removes them when no session uses them; ` +
      "CALL citus_cleanup_orphaned_resources() does so at once",
    details: { reason: "leftover_of_move", schema, worker },
    retryable: true,
    cause,
  });
}

/** Reports the progress once a second until the move has ended. */
export async function watchMove(
  queries: Queries,
  { schema, bytes }: MovePlan,
  ended: Promise<void>,
  onProgress: (progress: MoveProgress) => void,
): Promise<void> {
  let isEnded = false;
  const end = ended.then(() => {
    isEnded = true;
  });
  while (!isEnded) {
    try {
      const [{ rows: [row] }] = await queries.run([
        bind(selectMoveProgress, schema),
      ]);
      const [total = null, done = null, step = null] = row ?? [];
      if (!isEnded && total !== null) {
        onProgress({
          done: done ?? 0n,
          total: total || (bytes ?? undefined),
          step: step ?? undefined,
        });
      }
    } catch {
      // A failure to read the progress does not matter. The move's own session
      // reports failures of the move.
    }
    await atMost(askEveryMs, end);
  }
}

/** Makes the error that says where the schema is after an interrupted move. */
export async function interruption(
  queries: Queries,
  { schema, from, to }: MovePlan,
  reason: unknown,
): Promise<Error> {
  const error = canceled(reason);
  const cluster = await readCluster(queries).catch(() => undefined);
  const store = cluster?.stores.find((each) => each.schema === schema);
  const worker = [from, to].find(({ group }) => group === store?.group);
  if (worker !== undefined) {
    Object.assign(error.details, {
      schema,
      worker: workerName(worker),
      isMoved: worker === to,
    });
  }
  return error.withOperation(operation);
}
