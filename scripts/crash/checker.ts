/**
 * Reads the tables on a session that does not go through the store, and
 * compares all rows with the ledger.
 */
import type { MiniblockDescriptor, StreamId } from "../../mod.ts";
import { parseConnectionUrl } from "../../src/database/connection_target.ts";
import { connectSession } from "../../src/database/driver.ts";
import { partitionSuffixes } from "../../src/database/migrations/plan.ts";
import type { Session } from "../../src/database/session.ts";
import { bind } from "../../src/database/statement.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import { selectEverything } from "../../src/postgres/sql/state.ts";
import { selectStreamRow } from "../../src/postgres/sql/streams.ts";
import { hexToBytes } from "../../src/storage/stream_id.ts";
import { assertInvariants } from "../../tests/support/invariants.ts";
import { BrokenPromise, type Ledger } from "./ledger.ts";
import { imageOf, type State } from "./operation.ts";
import type { Payloads } from "./payload.ts";

/** How much the checks of all rounds have compared. */
export interface Checks {
  rounds: number;
  streams: number;
  rows: number;
  bytes: number;
}

/** The schema that a check reads. */
export interface Ground {
  url: string;
  schema: string;
  partitions: number;
}

/**
 * Compares every stream with the ledger, and checks the invariants and that the
 * schema has one owner.
 *
 * @throws {BrokenPromise} something is wrong; the check stops at the first
 *   fault.
 */
export async function checkStore(
  ground: Ground,
  ledger: Ledger,
  payloads: Payloads,
  checks: Checks,
): Promise<void> {
  await using session = await connectSession(
    parseConnectionUrl(ground.url),
    {},
    { preparedStatements: true, answerTimeoutMs: 60_000 },
  );
  const catalog = new Catalog(ground.schema, ground.partitions);
  for (const stream of ledger.streams) {
    const state = await readState(session, catalog, stream, payloads, checks);
    ledger.observe(stream, state);
    checks.streams++;
  }
  await checkList(session, catalog, ledger);
  await checkOwner(session, catalog);
  try {
    await assertInvariants(session, ground);
  } catch (error) {
    throw new BrokenPromise(String(error));
  }
  checks.rounds++;
}

async function readState(
  session: Session,
  catalog: Catalog,
  stream: StreamId,
  payloads: Payloads,
  checks: Checks,
): Promise<State> {
  const [{ rows }, { rows: [facts] }] = await session.run([
    bind(catalog.of(stream, selectEverything), stream),
    bind(catalog.of(stream, selectStreamRow), stream),
  ]);
  const blocks: MiniblockDescriptor[] = [];
  const candidates: (MiniblockDescriptor & { hash: Uint8Array })[] = [];
  const events: { generation: bigint; slot: number; data: Uint8Array }[] = [];
  for (const [kind, number, slot, hash, data, snapshot] of rows) {
    if (kind === 0) continue;
    const bytes = data ?? new Uint8Array();
    const block = { number, data: bytes, ...(snapshot && { snapshot }) };
    if (kind === 1) blocks.push(block);
    if (kind === 2) {
      events.push({ generation: number, slot: Number(slot), data: bytes });
    }
    if (kind === 3) candidates.push({ ...block, hash: hexToBytes(hash!) });
    checks.rows++;
    checks.bytes += bytes.length + (snapshot?.length ?? 0);
  }
  if (facts === undefined) {
    if (rows.length === 0) return undefined;
    throw new BrokenPromise(`Stream ${stream} has rows but does not exist`);
  }
  try {
    return imageOf({
      streamId: stream,
      ephemeral: facts[0],
      latestSnapshotMiniblockNum: rows[0]![1],
      miniblocks: blocks,
      events,
      miniblockCandidates: candidates,
    }, payloads);
  } catch (error) {
    throw new BrokenPromise((error as Error).message);
  }
}

/** Checks that every stored stream is in the ledger. */
async function checkList(
  session: Session,
  catalog: Catalog,
  ledger: Ledger,
): Promise<void> {
  const known = new Set<string>(ledger.streams);
  const rows = partitionSuffixes(catalog.partitions).flatMap((suffix) => {
    const { miniblocks, minipools, candidates } = catalog.tablesAt(suffix);
    return [miniblocks, minipools, candidates];
  });
  for (const table of [catalog.table("es"), ...rows]) {
    const ids = await session.script(`SELECT DISTINCT stream_id FROM ${table}`);
    const unknown = ids.find(([id]) => !known.has(id!));
    if (unknown !== undefined) {
      throw new BrokenPromise(`No caller has written stream ${unknown[0]}`);
    }
  }
}

async function checkOwner(session: Session, catalog: Catalog): Promise<void> {
  const rows = await session.script(
    `SELECT uuid FROM ${catalog.table("singlenodekey")}`,
  );
  if (rows.length !== 1) {
    throw new BrokenPromise(`Expected one owner's row, found ${rows.length}`);
  }
}
