/**
 * Measures how much of the server's memory the prepared statements of all
 * partitions take in one connection of a store.
 */

import { parseConnectionUrl } from "../src/database/connection_target.ts";
import { connectSession } from "../src/database/driver.ts";
import { PreparedBudget } from "../src/database/prepared_budget.ts";
import { rejectionOf, rejectSql } from "../src/database/rejection.ts";
import type { Session } from "../src/database/session.ts";
import { bind, type Statement, statement } from "../src/database/statement.ts";
import { baseType, type PgType } from "../src/database/wire/types.ts";
import type { StreamTables } from "../src/postgres/catalog.ts";
import { insertDueCandidate } from "../src/postgres/sql/candidates.ts";
import {
  swapMiniblocks,
  swapUnchecked,
} from "../src/postgres/sql/miniblocks.ts";
import { appendEvent, insertEvent } from "../src/postgres/sql/minipools.ts";
import { selectMiniblocks, selectStream } from "../src/postgres/sql/reading.ts";
import { insertWholeStream } from "../src/postgres/sql/streams.ts";
import { times } from "./data.ts";
import type { Setup } from "./setup.ts";
import { searchPath } from "../src/database/search_path.ts";

/** The statements of one kind of connection, and the memory that they take. */
export interface StatementMemory {
  title: string;
  statements: number;
  mebibytes: number;
}

const kinds = {
  "small writes: events, blocks, candidates, new streams": [
    appendEvent,
    insertEvent,
    insertWholeStream,
    insertDueCandidate,
    swapMiniblocks,
    swapUnchecked,
  ],
  "reads of streams and of blocks": [selectStream, selectMiniblocks],
} satisfies Record<string, ((tables: StreamTables) => unknown)[]>;

/** Measures each kind of connection. */
export async function statementMemory(
  setup: Setup,
): Promise<StatementMemory[]> {
  const results: StatementMemory[] = [];
  for (const [title, templates] of Object.entries(kinds)) {
    await using session = await connect(setup.url);
    const before = await memoryOf(session);
    const made = times(setup.catalog.partitions, (i) => {
      const suffix = `r${i.toString(16).padStart(2, "0")}`;
      const tables = setup.catalog.tablesAt(suffix);
      return templates.map((template) => template(tables) as Statement);
    }).flat();
    for (const one of made) await plan(session, one);
    const grown = await memoryOf(session) - before;
    results.push({
      title,
      statements: made.length,
      mebibytes: grown / 2 ** 20,
    });
  }
  return results;
}

function connect(url: string): Promise<Session> {
  return connectSession(
    parseConnectionUrl(url),
    {
      search_path: searchPath,
      plan_cache_mode: "force_generic_plan",
      enable_seqscan: "off",
    },
    {
      preparedStatements: true,
      budget: new PreparedBudget(Infinity),
      answerTimeoutMs: 60_000,
    },
  );
}

const undone = "undone";

const undo = statement({
  text: `SELECT ${rejectSql(undone)}`,
  columns: ["int4"],
});

/** Runs the statement once, so that the server plans it, and rolls it back. */
async function plan(session: Session, one: Statement): Promise<void> {
  const values = one.params.map(anyValueOf) as never[];
  try {
    await session.run([bind(one, ...values), bind(undo)]);
  } catch (error) {
    if (rejectionOf(error)?.reason !== undone) throw error;
  }
}

function anyValueOf(type: PgType): unknown {
  const base = baseType(type);
  if (base.endsWith("[]")) return [];
  if (base === "int8") return 1n;
  return base === "bytea" ? new Uint8Array(1) : "00".repeat(32);
}

const contexts = statement({
  text: "SELECT sum(total_bytes)::int8 FROM pg_backend_memory_contexts",
  columns: ["int8"],
});

async function memoryOf(session: Session): Promise<number> {
  const [{ rows: [row] }] = await session.run([bind(contexts)]);
  return Number(row![0]);
}
