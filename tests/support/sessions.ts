import { parseConnectionUrl } from "../../src/database/connection_target.ts";
import { connectSession } from "../../src/database/driver.ts";
import { PreparedBudget } from "../../src/database/prepared_budget.ts";
import { PreparedStatements } from "../../src/database/prepared_statements.ts";
import type { Session, SessionOptions } from "../../src/database/session.ts";
import type { SessionSettings } from "../../src/database/transaction_settings.ts";
import { schemaLockId } from "../../src/storage/stream_id.ts";
import { testDatabaseUrl, uniqueName } from "./database.ts";

/** Options of a test's session. */
export interface TestSessionOptions extends Partial<SessionOptions> {
  /** Default: the tests' server. */
  url?: string;
  settings?: SessionSettings;
}

/** A budget that has room for this many statements as short as `SELECT 1`. */
export function budgetOf(statements: number): PreparedBudget {
  const one = new PreparedBudget();
  new PreparedStatements(one).add("SELECT 1");
  return new PreparedBudget(one.bytes * statements);
}

/** Opens a session that waits at most 10 seconds for an answer. */
export async function testSession(
  { url, settings, ...options }: TestSessionOptions = {},
): Promise<Session> {
  const target = parseConnectionUrl(url ?? await testDatabaseUrl());
  return await connectSession(target, settings ?? {}, {
    preparedStatements: true,
    answerTimeoutMs: 10_000,
    ...options,
  });
}

/** A test's table, which is dropped when it is disposed of. */
export interface TestTable extends AsyncDisposable {
  name: string;
}

/** Makes a table that every session can use. */
export async function testTable(columns: string): Promise<TestTable> {
  const name = `public.${uniqueName("test")}`;
  await using session = await testSession();
  await session.script(`CREATE TABLE ${name} (${columns})`);
  return {
    name,
    [Symbol.asyncDispose]: async () => {
      await using session = await testSession();
      await session.script(`DROP TABLE ${name}`);
    },
  };
}

/** Terminates a session, and waits until the server has done so. */
export async function terminate(processId: number): Promise<void> {
  await using session = await testSession();
  await session.script(`SELECT pg_terminate_backend(${processId}, 10000)`);
}

/**
 * The process ids of the sessions that hold the schema's lock: one, or none.
 */
export async function lockHolders(
  session: Session,
  schema: string,
): Promise<string[]> {
  const found = await session.script(
    `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
       AND ((classid::bigint << 32) | objid::bigint) = ${schemaLockId(schema)}`,
  );
  return found.map(([pid]) => pid!);
}

/** Resolves when the session waits for another session's lock. */
export async function blocked(processId: number): Promise<void> {
  await using session = await testSession();
  for (;;) {
    const [row] = await session.script(
      `SELECT cardinality(pg_blocking_pids(${processId})) > 0`,
    );
    if (row?.[0] === "t") return;
  }
}
