/** Calls of all of the operator's tools, so that they send their statements. */
import assert from "node:assert/strict";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import {
  applyRepairs,
  copyStreams,
  diffStreams,
  doctor,
  exportStreams,
  findStores,
  importStreams,
  inspectStream,
  listBlocks,
  listStreams,
  mediaStatus,
  planRepairs,
  planStoreMigrations,
  readBlock,
  simulateTrimming,
  storeStatus,
  storeUsage,
  undoRepairs,
  verify,
  watchStore,
} from "../../src/operator/mod.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import {
  block,
  bytes,
  candidate,
  newStreamId,
} from "../../src/testing/contract/support.ts";
import { queryOnce } from "./database.ts";
import type { HostileDatabase } from "./hostile_database.ts";
import { temporaryDirectory } from "./transfer/transfer.ts";

/** Repairs damage of each kind, and undoes the repairs. */
export async function repairDamage(
  { url, urls }: HostileDatabase,
  schema: string,
): Promise<void> {
  const stream = (i: number) => `'20${String(i).padStart(62, "0")}'`;
  const table = (name: string) => `"${schema}".${name}`;
  await queryOnce(
    url,
    [
      ...[1, 2, 3, 4].map((i) =>
        `INSERT INTO ${table("es")} VALUES (${stream(i)}, 9, true)`
      ),
      ...[1, 2, 3, 4, 5].map((i) =>
        `INSERT INTO ${table("miniblocks_r00")} VALUES (${
          stream(i)
        }, 0, 'block')`
      ),
      `INSERT INTO ${table("minipools_r00")} VALUES (${
        stream(1)
      }, 1, 0, 'event')`,
      `INSERT INTO ${table("miniblock_candidates_r00")}
        VALUES (${stream(2)}, 0, 'hash', 'block')`,
      `UPDATE ${table("es")} SET ephemeral = true WHERE stream_id = ${
        stream(3)
      }`,
      `INSERT INTO ${table("minipools_r00")} VALUES (${
        stream(3)
      }, 1, -1, NULL)`,
    ].join("; "),
  );
  const store = { url: urls.steered, schema };
  const place = { ...store, startupDelayMs: 0 };
  const verified = () => Array.fromAsync(verify({ ...store, level: "deep" }));
  await using directory = await temporaryDirectory();
  const undoFile = directory.file("undo");
  const plan = planRepairs(await verified());
  const results = await applyRepairs(plan, { ...place, undoFile });
  const done = results.filter(({ outcome }) => outcome === "done");
  assert.equal(done.length, 9, JSON.stringify(results));
  assert.deepEqual(await verified(), []);
  await undoRepairs(undoFile, place);
  const streamIds = [stream(1).slice(1, -1)];
  await Array.fromAsync(
    verify({ ...store, level: "deep", since: 1, streamIds }),
  );
}

/** Transfers streams, whole and in pieces, by every way. */
export async function transferStreams(
  { urls }: HostileDatabase,
  open: () => Promise<PostgresStreamStorage>,
): Promise<void> {
  const [source, target] = [await open(), await open()];
  const [small, large] = [newStreamId("space"), newStreamId("media")];
  await source.createStreamStorage(small, block(0));
  await source.writeMiniblockCandidate(small, candidate(1));
  await source.createEphemeralStreamStorage(large, block(0));
  for (const number of [1, 2, 3]) {
    const data = new Uint8Array(1_500_000);
    await source.writeEphemeralMiniblock(large, {
      number: BigInt(number),
      data,
    });
  }
  await source.close();
  await target.close();
  const url = urls.steered;
  const from = { url, schema: source.schema };
  const to = { url, schema: target.schema, startupDelayMs: 0 };
  await using directory = await temporaryDirectory();
  const file = directory.file("streams");
  await exportStreams({ ...from, file });
  for (const existing of ["refuse", "replace"] as const) {
    const { written } = await importStreams({ ...to, file, existing });
    assert.equal(written, 2);
  }
  const { written } = await copyStreams({ from, to, existing: "replace" });
  assert.equal(written, 0);
  const again = await openStreamStorage({ ...from, startupDelayMs: 0 });
  const snapshot = new Uint8Array(2_000_000);
  for (const number of [4, 5, 6]) {
    const data = bytes("block");
    const block = { number: BigInt(number), data, snapshot };
    await again.writeEphemeralMiniblock(large, block);
  }
  await again.close();
  const extended = await copyStreams({ from, to });
  assert.equal(extended.written, 1);
  const right = { url, schema: target.schema };
  assert.equal((await diffStreams({ left: from, right })).different, 0);
}

/** Looks at a store with the doctor, watch and the other reading tools. */
export async function lookAtStore(
  { urls }: HostileDatabase,
  schema: string,
): Promise<void> {
  const url = urls.steered;
  const { diagnoses } = await doctor({ url, schema });
  // Every check has run, because this role has the rights of a store's role.
  assert.deepEqual(
    diagnoses.filter(({ level }) => level === "unknown"),
    [],
  );
  let looks = 0;
  for await (const look of watchStore({ url, schema, intervalMs: 100 })) {
    assert.ok(!("lost" in look), JSON.stringify(look));
    // The tool looks at busy partitions more closely.
    if (look.partitions.length > 0 || ++looks > 30) break;
  }
  await storeStatus({ url, schema });
  await lookAtStreams({ url, schema });
}

/** Asks usage, list, inspect, trim, media and migrate. */
async function lookAtStreams(
  place: { url: string; schema: string },
): Promise<void> {
  const { url, schema } = place;
  assert.ok((await findStores({ url })).some((its) => its.schema === schema));
  await planStoreMigrations(place);
  await storeUsage(place);
  await mediaStatus(place);
  const trimming = { historyMiniblocks: { default: 1n } };
  await simulateTrimming({ ...place, trimming });
  const pages = await Array.fromAsync(listStreams(place));
  const streams = pages.flat();
  assert.ok(streams.length > 0);
  for (const { streamId } of streams.slice(0, 3)) {
    await inspectStream({ ...place, streamId });
    const blocks = await Array.fromAsync(listBlocks({ ...place, streamId }));
    const number = blocks.flat().find((block) => !("startByte" in block))
      ?.number;
    if (number !== undefined) await readBlock({ ...place, streamId, number });
  }
}
