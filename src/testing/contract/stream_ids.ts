/**
 * The ids that a stream can have. Operations that create a stream accept only
 * ids that a node can read; all other calls accept any id that may be stored.
 */
import assert from "node:assert/strict";
import { operationNames } from "../../storage/operations.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { StreamStorage } from "../../storage/stream_storage.ts";
import { callSample } from "../samples.ts";
import type { Suite } from "./suite.ts";
import {
  assertFails,
  assertServes,
  block,
  bytes,
  candidate,
  ID_FORMS,
  newStreamId,
  plantedStream,
  run,
  snapshotBlock,
} from "./support.ts";

type Type = keyof typeof ID_FORMS;

const TYPES = Object.keys(ID_FORMS) as Type[];

/** Registers the tests. */
export function streamIdsContract(suite: Suite): void {
  testCreating(suite);
  testStored(suite);
}

/** The operations that create a stream, with valid arguments. */
const CREATIONS: Record<
  string,
  (storage: StreamStorage, id: StreamId) => Promise<unknown>
> = {
  ...Object.fromEntries(
    operationNames("creates").map((name) => [
      name,
      (storage: StreamStorage, id: StreamId) => callSample(storage, name, id),
    ]),
  ),
  "reinitializeStreamStorage, updating": (storage, id) =>
    storage.reinitializeStreamStorage(id, [snapshotBlock(0)], 0n, true),
};

/** Ids in the stored form that no node can read. */
function unreadableIds(): StreamId[] {
  const ids = ["00".repeat(32), `11${"00".repeat(31)}`, `fe${"00".repeat(31)}`];
  for (const type of TYPES) {
    const [, used] = ID_FORMS[type];
    if (used === 32) continue;
    ids.push(
      withByte(newStreamId(type), used),
      withByte(newStreamId(type), 31),
    );
  }
  return ids as StreamId[];
}

function withByte(id: StreamId, at: number): string {
  return `${id.slice(0, 2 * at)}01${id.slice(2 * at + 2)}`;
}

function testCreating(suite: Suite): void {
  suite.test("operations that create a stream refuse an id that no node can read", async ({ storage }) => {
    for (const [name, create] of Object.entries(CREATIONS)) {
      for (const id of unreadableIds()) {
        await assertFails(create(storage, id), {
          code: "BAD_STREAM_ID",
          reason: "bad_stream_id",
          operation: name.split(",")[0]!,
          details: { argument: "streamId" },
        });
      }
    }
    assert.equal(await storage.getStreamsNumber(), 0);
  });

  suite.test("streams of every type are created, by each operation that may", async ({ storage }) => {
    const ids = [];
    for (const create of Object.values(CREATIONS)) {
      for (const type of TYPES) {
        const id = newStreamId(type);
        await create(storage, id);
        ids.push(id);
      }
    }
    assert.deepEqual(await storage.getStreams(), ids.sort());
  });
}

function testStored(suite: Suite): void {
  suite.planted(
    "a stream that no node can read can be read, written, listed and deleted",
    async ({ storage, plant }) => {
      const ids = unreadableIds();
      for (const id of ids) {
        await plant(
          id,
          plantedStream(run(0, 3), { snapshots: [0], events: 1 }),
        );
      }
      assert.deepEqual(await storage.getStreams(), [...ids].sort());
      const [first] = await storage.getStreams({ limit: 1 });
      const rest = await storage.getStreams({ after: first! });
      assert.equal(rest.length, ids.length - 1);
      for (const id of ids) {
        await use(storage, id);
        await storage.deleteStream(id);
        await assertFails(storage.getLastMiniblockNumber(id), {
          code: "NOT_FOUND",
        });
      }
      assert.equal(await storage.getStreamsNumber(), 0);
    },
  );

  suite.planted(
    "an upload that no node can read can be written",
    async ({ storage, plant }) => {
      const id = "00".repeat(32) as StreamId;
      await plant(
        id,
        plantedStream([0n], { ephemeral: true, events: "no rows" }),
      );
      await storage.writeEphemeralMiniblock(id, block(1));
      assert.deepEqual(await storage.readEphemeralMiniblockNums(id), [0n, 1n]);
    },
  );
}

async function use(storage: StreamStorage, id: StreamId): Promise<void> {
  await storage.writeEvent(id, 4n, 1, bytes("event 1"));
  await storage.writeMiniblockCandidate(id, candidate(4));
  await storage.writeMiniblocks(
    id,
    [snapshotBlock(4)],
    { generation: 5n, envelopes: [] },
    { generation: 4n, size: 2 },
  );
  const given = [snapshotBlock(5)];
  await storage.reinitializeStreamStorage(id, given, 5n, true);
  await storage.trimStream(id, 2n, []);
  await assertServes(storage, id, {
    blocks: run(2, 5),
    latest: 5n,
    events: [],
  });
  const data = await storage.debugReadStreamData(id);
  assert.equal(data.streamId, id);
}
