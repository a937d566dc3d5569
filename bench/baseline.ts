/**
 * The statements that the existing node sends for the same work, in its order,
 * through `pg` as it is shipped: values as text, eight connections, statements
 * prepared by name as pgx prepares them, each one awaited.
 *
 * The comparison is fair: the baseline has the same server, schema and indexes,
 * and no delay. Where the node copies rows in (pgx CopyFrom), the baseline uses
 * one INSERT of several rows. COPY through pg-copy-streams is no faster: 20
 * rows of 1 KB took 0.29 ms with INSERT and 0.29 to 0.5 ms with COPY, 100 rows
 * of 10 KB took 4.3 ms and 4.4 ms.
 */

import { Buffer } from "node:buffer";
import pg from "pg";
import type { StreamTables } from "../src/postgres/catalog.ts";
import type {
  MiniblockDescriptor,
  NewMinipool,
  PreviousMinipool,
  ReadMiniblocksResult,
  ReadStreamFromLastSnapshotResult,
} from "../src/storage/model.ts";
import type { StreamId } from "../src/storage/stream_id.ts";
import type { Setup } from "./setup.ts";
import type { MeasuredStorage } from "./workload.ts";
import { clientOptions } from "./client.ts";

const connections = 8;

type Row = (string | Buffer | null)[];

/** Does a store's work with the node's statements. */
export class Baseline implements MeasuredStorage, AsyncDisposable {
  readonly #setup: Setup;
  readonly #pool: pg.Pool;

  constructor(setup: Setup) {
    this.#setup = setup;
    this.#pool = new pg.Pool({
      ...clientOptions(setup.url),
      max: connections,
    });
    // An error without a listener would end the process; the next query on the
    // broken connection reports it.
    this.#pool.on("error", () => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end();
  }

  createStreamStorage(
    streamId: StreamId,
    genesis: MiniblockDescriptor,
  ): Promise<void> {
    return this.#transaction(streamId, async (t, run) => {
      await run(
        "create",
        `INSERT INTO ${t.streams}
          (stream_id, latest_snapshot_miniblock, migrated)
         VALUES ($1, 0, true)`,
        [streamId],
      );
      await run(`genesis_${t.suffix}`, insertBlocks(t, 1), [
        streamId,
        0,
        asBuffer(genesis.data),
        asBuffer(genesis.snapshot),
      ]);
      await run(`marker_${t.suffix}`, insertEvents(t, 1), [
        streamId,
        1,
        -1,
        null,
      ]);
    });
  }

  writeEvent(
    streamId: StreamId,
    generation: bigint,
    slot: number,
    envelope: Uint8Array,
  ): Promise<void> {
    return this.#transaction(streamId, async (t, run) => {
      await run("lock", lock(t), [streamId]);
      const rows = await run(`slots_${t.suffix}`, selectSlots(t), [streamId]);
      checkMinipool(rows, generation, slot);
      await run(`event_${t.suffix}`, insertEvents(t, 1), [
        streamId,
        generation,
        slot,
        asBuffer(envelope),
      ]);
    });
  }

  writeMiniblocks(
    streamId: StreamId,
    miniblocks: MiniblockDescriptor[],
    newMinipool: NewMinipool,
    previous: PreviousMinipool,
  ): Promise<void> {
    return this.#transaction(streamId, async (t, run) => {
      await run("lock", lock(t), [streamId]);
      const [last] = await run(
        `last_${t.suffix}`,
        `SELECT max(seq_num) FROM ${t.miniblocks} WHERE stream_id = $1`,
        [streamId],
      );
      if (BigInt(last![0] as string) !== previous.generation - 1n) {
        throw new Error("The blocks do not follow the last one");
      }
      const rows = await run(`slots_${t.suffix}`, selectSlots(t), [streamId]);
      checkMinipool(rows, previous.generation, previous.size ?? 0);
      await replaceMinipool(t, run, streamId, newMinipool);
      await run(
        `blocks_${t.suffix}_${miniblocks.length}`,
        insertBlocks(t, miniblocks.length),
        miniblocks.flatMap(({ number, data, snapshot }, i) => [
          ...(i === 0 ? [streamId] : []),
          number,
          asBuffer(data),
          asBuffer(snapshot),
        ]),
      );
      const latest = miniblocks.findLast(({ snapshot }) => snapshot);
      if (latest !== undefined) {
        await run(
          "latest",
          `UPDATE ${t.streams} SET latest_snapshot_miniblock = $2
           WHERE stream_id = $1`,
          [streamId, latest.number],
        );
      }
      await run(
        `candidates_${t.suffix}`,
        `DELETE FROM ${t.candidates} WHERE stream_id = $1 AND seq_num <= $2`,
        [streamId, miniblocks.at(-1)!.number],
      );
    });
  }

  readStreamFromLastSnapshot(
    streamId: StreamId,
    numPrecedingMiniblocks: number,
  ): Promise<ReadStreamFromLastSnapshotResult> {
    return this.#transaction(streamId, async (t, run) => {
      const [stream] = await run("share", share(t), [streamId]);
      const latest = Number(stream![0]);
      const first = Math.max(0, latest - numPrecedingMiniblocks);
      const blocks = await run(
        `from_${t.suffix}`,
        `SELECT seq_num, blockdata, snapshot FROM ${t.miniblocks}
         WHERE stream_id = $1 AND seq_num >= $2 ORDER BY seq_num`,
        [streamId, first],
      );
      const events = await run(
        `pool_${t.suffix}`,
        `SELECT generation, slot_num, envelope FROM ${t.minipools}
         WHERE stream_id = $1 ORDER BY generation, slot_num`,
        [streamId],
      );
      return {
        snapshotMiniblockOffset: latest - first,
        miniblocks: blocks.map(blockOf),
        minipoolEnvelopes: events.slice(1).map((row) => row[2] as Buffer),
      };
    });
  }

  readMiniblocks(
    streamId: StreamId,
    fromInclusive: bigint,
    toExclusive: bigint,
  ): Promise<ReadMiniblocksResult> {
    return this.#transaction(streamId, async (t, run) => {
      await run("share", share(t), [streamId]);
      const blocks = await run(
        `range_${t.suffix}`,
        `SELECT seq_num, blockdata, snapshot FROM ${t.miniblocks}
         WHERE stream_id = $1 AND seq_num >= $2 AND seq_num < $3
         ORDER BY seq_num`,
        [streamId, fromInclusive, toExclusive],
      );
      return {
        miniblocks: blocks.map(blockOf),
        terminus: fromInclusive === 0n,
      };
    });
  }

  async #transaction<T>(
    streamId: StreamId,
    body: (
      tables: StreamTables,
      run: Run,
    ) => Promise<T>,
  ): Promise<T> {
    const client = await this.#pool.connect();
    try {
      await client.query("BEGIN");
      const result = await body(
        this.#setup.catalog.tablesOf(streamId),
        async (name, text, values) =>
          (await client.query<Row>({ name, text, values, rowMode: "array" }))
            .rows,
      );
      await client.query("COMMIT");
      client.release();
      return result;
    } catch (error) {
      client.release(true);
      throw error;
    }
  }
}

/** Runs a statement that is prepared under a name. */
type Run = (name: string, text: string, values: unknown[]) => Promise<Row[]>;

async function replaceMinipool(
  t: StreamTables,
  run: Run,
  streamId: StreamId,
  { generation, envelopes }: NewMinipool,
): Promise<void> {
  await run(
    `empty_${t.suffix}`,
    `DELETE FROM ${t.minipools} WHERE stream_id = $1`,
    [streamId],
  );
  const marker = [streamId, generation, -1, null];
  await run(`event_${t.suffix}`, insertEvents(t, 1), marker);
  if (envelopes.length === 0) return;
  await run(
    `events_${t.suffix}_${envelopes.length}`,
    insertEvents(t, envelopes.length),
    envelopes.flatMap((envelope, i) => [
      ...(i === 0 ? [streamId] : []),
      generation,
      i,
      asBuffer(envelope),
    ]),
  );
}

const lock = (t: StreamTables) =>
  `SELECT latest_snapshot_miniblock FROM ${t.streams}
   WHERE stream_id = $1 AND migrated = true FOR UPDATE`;

const share = (t: StreamTables) =>
  `SELECT latest_snapshot_miniblock FROM ${t.streams}
   WHERE stream_id = $1 AND migrated = true FOR SHARE`;

const selectSlots = (t: StreamTables) =>
  `SELECT generation, slot_num FROM ${t.minipools}
   WHERE stream_id = $1 ORDER BY generation, slot_num`;

/** The statement's $1 is the stream's id; three values for each row follow. */
function insertRows(into: string, rows: number): string {
  const values = Array.from(
    { length: rows },
    (_, i) => `($1, $${3 * i + 2}, $${3 * i + 3}, $${3 * i + 4})`,
  );
  return `INSERT INTO ${into} VALUES ${values.join()}`;
}

const insertEvents = (t: StreamTables, rows: number) =>
  insertRows(
    `${t.minipools} (stream_id, generation, slot_num, envelope)`,
    rows,
  );

const insertBlocks = (t: StreamTables, rows: number) =>
  insertRows(
    `${t.miniblocks} (stream_id, seq_num, blockdata, snapshot)`,
    rows,
  );

function checkMinipool(
  rows: readonly Row[],
  generation: bigint,
  size: number,
): void {
  let slot = -1;
  for (const [rowGeneration, rowSlot] of rows) {
    if (BigInt(rowGeneration as string) !== generation) {
      throw new Error("The minipool is of another generation");
    }
    if (Number(rowSlot) !== slot++) throw new Error("The minipool has a hole");
  }
  if (slot !== size) throw new Error("The minipool has another size");
}

function blockOf([number, data, snapshot]: Row): MiniblockDescriptor {
  return {
    number: BigInt(number as string),
    data: data as Buffer,
    ...(snapshot === null ? {} : { snapshot: snapshot as Buffer }),
  };
}

/** Makes a Buffer, because pg sends other arrays as text. */
function asBuffer(bytes: Uint8Array | undefined): Buffer | null {
  return bytes === undefined
    ? null
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
