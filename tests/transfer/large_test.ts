/**
 * Streams of more than a page, which change while they are read and are written
 * in pieces.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openOwned } from "../../src/operator/repair/owner.ts";
import { copyStreams, verify } from "../../src/operator/mod.ts";
import { storeOf } from "../../src/operator/transfer/diff.ts";
import type {
  StreamHead,
  StreamTail,
} from "../../src/operator/transfer/format/model.ts";
import {
  passStream,
  readWholeStream,
} from "../../src/operator/transfer/source/read_stream.ts";
import { StreamWriter } from "../../src/operator/transfer/target/write_stream.ts";
import { openReadCore } from "../../src/postgres/open_reader.ts";
import type { ReadCore } from "../../src/postgres/read_core.ts";
import type { MiniblockDescriptor } from "../../src/storage/model.ts";
import type { MiniblockRow } from "../../src/storage/rules.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  block,
  bytes,
  candidate,
  newStreamId,
} from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { startProxy } from "../support/network/proxy.ts";
import { openTestStorage } from "../support/storage.ts";
import {
  contentsOf,
  differences,
  emptyStore,
} from "../support/transfer/transfer.ts";

/** A block of half a page. */
function large(number: number): MiniblockDescriptor {
  const data = new Uint8Array(600_000).fill(number + 1);
  return number % 2 === 0
    ? { number: BigInt(number), data, snapshot: bytes(`snapshot ${number}`) }
    : { number: BigInt(number), data };
}

describe("A large stream that changes while it is read", () => {
  let test: TestStreamStorage;
  let core: ReadCore;

  before(async () => {
    test = await openTestStorage();
    const { url, schema } = test;
    core = await openReadCore({ url, schema });
  });
  after(async () => {
    await core.close();
    await test[Symbol.asyncDispose]();
  });

  async function newStream(id = newStreamId("space")): Promise<StreamId> {
    const { storage } = test;
    await storage.createStreamStorage(id, large(0));
    await append(id, [1, 2, 3, 4, 5]);
    return id;
  }

  async function append(id: StreamId, numbers: number[]): Promise<void> {
    const next = {
      generation: BigInt(numbers.at(-1)! + 1),
      envelopes: [bytes("event")],
    };
    const generation = { generation: BigInt(numbers[0]!) };
    const blocks = numbers.map(large);
    await test.storage.writeMiniblocks(id, blocks, next, generation);
  }

  /** Reads a stream, and makes `change` after the first page. */
  async function read(id: StreamId, change: () => Promise<unknown>) {
    let withdrawn = 0;
    let isChanged = false;
    let numbers: number[] = [];
    const found = await passStream<StreamTail>(
      storeOf(core),
      { name: "test", streamId: id },
      {
        taker: {
          begin: () => {
            numbers = [];
          },
          blocks: async (blocks) => {
            for (const { number, data } of blocks) {
              assert.equal(data[0], Number(number) % 100 + 1);
              numbers.push(Number(number));
            }
            if (isChanged) return;
            isChanged = true;
            await change();
          },
          end: (tail) => tail,
          withdraw: () => {
            withdrawn++;
          },
        },
      },
    );
    const generation = found?.minipool?.generation;
    return { withdrawn, numbers: found && numbers, generation };
  }

  it("is read as it was at the beginning, if it grows", async () => {
    const id = await newStream();
    assert.deepEqual(await read(id, () => append(id, [6, 7])), {
      withdrawn: 0,
      numbers: [0, 1, 2, 3, 4, 5],
      generation: 6n,
    });
  });

  it("is read again if it is trimmed", async () => {
    const id = await newStream();
    const { storage } = test;
    assert.deepEqual(await read(id, () => storage.trimStream(id, 4n, [])), {
      withdrawn: 1,
      numbers: [4, 5],
      generation: 6n,
    });
  });

  it("is read again if snapshots are cleared", async () => {
    const id = await newStream();
    const { storage } = test;
    const { withdrawn } = await read(
      id,
      () => storage.trimStream(id, 0n, [2n]),
    );
    assert.equal(withdrawn, 1);
  });

  it("is gone if it is deleted", async () => {
    const id = await newStream();
    assert.deepEqual(await read(id, () => test.storage.deleteStream(id)), {
      withdrawn: 1,
      numbers: undefined,
      generation: undefined,
    });
  });

  it("is the new stream if it is made again", async () => {
    const id = await newStream();
    const { storage } = test;
    const found = await read(id, async () => {
      await storage.deleteStream(id);
      await newStream(id);
      await append(id, [6]);
    });
    assert.deepEqual(found, {
      withdrawn: 1,
      numbers: [0, 1, 2, 3, 4, 5, 6],
      generation: 7n,
    });
  });

  it("is read again if an upload continues below its last block", async () => {
    const id = newStreamId("media");
    const { storage } = test;
    await storage.createEphemeralStreamStorage(id, large(0));
    for (const number of [1, 2, 5]) {
      await storage.writeEphemeralMiniblock(id, large(number));
    }
    const found = await read(
      id,
      () => storage.writeEphemeralMiniblock(id, large(3)),
    );
    assert.deepEqual([found.withdrawn, found.numbers], [1, [0, 1, 2, 3, 5]]);
  });

  it("is copied without a difference", async () => {
    const id = await newStream();
    await using target = await emptyStore({ partitions: 4 });
    const { url, schema } = test;
    const summary = await copyStreams({
      from: { url, schema },
      to: target.place,
      streamIds: [id],
    });
    assert.deepEqual([summary.written, summary.problems], [1, 0]);
    assert.deepEqual(await differences(test, target, [id]), {});
    // A second copy moves only the new blocks, in pieces of its own.
    await append(id, [6, 7, 8, 9, 10, 11, 12, 13, 14]);
    assert.deepEqual(await differences(test, target, [id]), { [id]: "behind" });
    const again = await copyStreams({
      from: { url, schema },
      to: target.place,
      streamIds: [id],
      follow: true,
      onRound: ({ blocks }) => assert.ok(blocks === 9 || blocks === 0),
    });
    assert.deepEqual([again.written, again.equal], [0, 1]);
    assert.deepEqual(await differences(test, target, [id]), {});
  });
});

describe("A stream that is written in pieces", () => {
  const numbers = [2, 3, 4, 5, 6, 7, 8];
  const rows: MiniblockRow[] = numbers.map((number) => block(number));
  const { number, data, hash } = candidate(9);
  const tail: StreamTail = {
    minipool: { generation: 9n, envelopes: [bytes("event")] },
    candidates: [{
      ...{ number, data },
      hash: [...hash!].map((byte) => byte.toString(16).padStart(2, "0")).join(
        "",
      ),
    }],
  };
  const headOf = (streamId: StreamId): StreamHead => ({
    streamId,
    kind: "regular",
    latestSnapshot: 2n,
  });
  const limits = { bytes: Infinity, rows: 2 };

  it("exists completely or not at all, wherever the writing stops", async () => {
    await using place = await emptyStore({ partitions: 1 });
    const ids: StreamId[] = [];
    const whole = newStreamId("space");
    {
      await using owned = await openOwned(place.place);
      const writerOf = (streamId: StreamId) =>
        new StreamWriter(
          owned.callers,
          { name: "test", streamId },
          () => Promise.resolve({ mode: "create" }),
          limits,
        );
      for (let stop = 0; stop <= numbers.length; stop++) {
        for (const isWithdrawn of [true, false]) {
          const id = newStreamId("space");
          ids.push(id);
          const writer = writerOf(id);
          writer.begin(headOf(id));
          await writer.blocks(rows.slice(0, stop));
          if (isWithdrawn) await writer.withdraw();
        }
      }
      const writer = writerOf(whole);
      writer.begin(headOf(whole));
      await writer.blocks(rows);
      const read = await readWholeStream(owned.callers, {
        name: "test",
        streamId: whole,
      });
      assert.equal(read, undefined);
      await writer.end(tail);
    }
    await place.with(async (storage) => {
      assert.deepEqual(await storage.getStreams(), [whole]);
      const { miniblocks, miniblockCandidates } = (await contentsOf(
        storage,
        whole,
      ))!;
      assert.deepEqual(miniblocks.map(({ number }) => Number(number)), numbers);
      assert.equal(miniblockCandidates.length, 1);
      const { minipoolEnvelopes } = await storage
        .readStreamFromLastSnapshot(whole, 0);
      assert.deepEqual(minipoolEnvelopes, [bytes("event")]);
    });
    // The leftovers are recorded, so they are not damage and don't disturb
    // other work.
    const { url, schema } = place;
    const found = await Array.fromAsync(verify({ url, schema }));
    assert.deepEqual(
      found.filter(({ finding }) => finding !== "snapshot_pointer"),
      [],
    );
    await using owned = await openOwned(place.place);
    for (const streamId of ids) {
      const writer = new StreamWriter(
        owned.callers,
        { name: "test", streamId },
        () => Promise.resolve({ mode: "create" }),
        limits,
      );
      writer.begin(headOf(streamId));
      await writer.blocks(rows);
      await writer.end(tail);
      const read = await readWholeStream(owned.callers, {
        name: "test",
        streamId,
      });
      assert.deepEqual(read!.last, 8n);
      const blocks = (await Array.fromAsync(read!.blocks())).flat();
      assert.equal(blocks.length, rows.length);
    }
  });

  it("replaces or extends another, and loads after each piece of an extension", async () => {
    await using place = await emptyStore({ partitions: 1 });
    const id = newStreamId("space");
    await place.with(async (storage) => {
      await storage.createStreamStorage(id, block(0));
      const blocks = [block(1), block(2), block(3)];
      const next = { generation: 4n, envelopes: [bytes("old")] };
      await storage.writeMiniblocks(id, blocks, next, { generation: 1n });
    });
    const load = async (
      stop: number | undefined,
      mode: "extend" | "replace",
    ) => {
      await using owned = await openOwned(place.place);
      const writer = new StreamWriter(
        owned.callers,
        { name: "test", streamId: id },
        () => Promise.resolve({ mode, stored: 3n }),
        limits,
      );
      writer.begin({ ...headOf(id), latestSnapshot: 0n });
      await writer.blocks(rows.slice(0, stop));
      if (stop === undefined) await writer.end(tail);
    };
    const view = () =>
      place.with(async (storage) => {
        const { miniblocks, minipoolEnvelopes } = await storage
          .readStreamFromLastSnapshot(id, 100);
        return [
          miniblocks.map((b) => Number(b.number)),
          minipoolEnvelopes.length,
        ];
      });
    await load(4, "extend");
    assert.deepEqual(await view(), [[0, 1, 2, 3, 4, 5], 0]);
    await load(6, "extend");
    assert.deepEqual(await view(), [[0, 1, 2, 3, 4, 5, 6, 7], 0]);
    await load(undefined, "extend");
    assert.deepEqual(await view(), [[0, 1, 2, 3, 4, 5, 6, 7, 8], 1]);
    await load(undefined, "replace");
    await place.with(async (storage) => {
      const { miniblocks } = (await contentsOf(storage, id))!;
      assert.deepEqual(miniblocks.map((b) => Number(b.number)), numbers);
    });
  });

  it("is written once, whichever message is the last before a connection is lost", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using place = await emptyStore({ partitions: 1 });
    await using owned = await openOwned({
      ...place.place,
      url: proxy.url,
      // Only one connection writes, so that every run is alike.
      maxConnections: 3,
      retry: { minDelayMs: 1, maxDelayMs: 10 },
    });
    const { callers: store } = owned;
    const kinds = ["create", "replace", "extend"] as const;
    const write = async (
      streamId: StreamId,
      mode: typeof kinds[number],
      given: readonly MiniblockRow[],
      rowsOfPiece = 3,
    ) => {
      const writer = new StreamWriter(
        store,
        { name: "test", streamId },
        () => Promise.resolve({ mode, stored: 4n }),
        { bytes: Infinity, rows: rowsOfPiece },
      );
      writer.begin(headOf(streamId));
      await writer.blocks(given);
      await writer.end(tail);
    };
    const old: StreamTail = {
      minipool: { generation: 5n, envelopes: [] },
      candidates: [],
    };
    /** Makes the target's state before each run. */
    const prepared = async (mode: typeof kinds[number]) => {
      const id = newStreamId("space");
      if (mode === "create") return id;
      const writer = new StreamWriter(
        store,
        { name: "test", streamId: id },
        () => Promise.resolve({ mode: "create" }),
      );
      writer.begin(headOf(id));
      await writer.blocks(rows.slice(0, 3));
      await writer.end(old);
      return id;
    };
    for (
      const [mode, pieces] of [
        ["create", 3],
        ["create", 100],
        ["replace", 3],
        ["replace", 100],
        ["extend", 3],
      ] as const
    ) {
      await write(await prepared(mode), mode, rows, pieces);
      const counts = { frontend: 0, backend: 0 };
      const measured = await prepared(mode);
      proxy.setRule(({ side }) => {
        counts[side]++;
        return "forward";
      });
      await write(measured, mode, rows, pieces);
      proxy.setRule(undefined);
      const cuts = (["frontend", "backend"] as const).flatMap((side) =>
        Array.from({ length: counts[side] }, (_, i) => i + 1).flatMap((nth) =>
          (["before", "after"] as const).map((when) => ({ side, nth, when }))
        )
      );
      // Other bytes every time.
      const oneIn = Math.ceil(cuts.length / 12);
      const first = Math.floor(Math.random() * oneIn);
      for (let i = first; i < cuts.length; i += oneIn) {
        const id = await prepared(mode);
        const wasCut = proxy.cutAt(cuts[i]!);
        await write(id, mode, rows, pieces);
        await wasCut;
        proxy.setRule(undefined);
        const found = await readWholeStream(store, {
          name: "test",
          streamId: id,
        });
        const where = JSON.stringify({ mode, pieces, ...cuts[i] });
        assert.ok(found, where);
        const blocks = (await Array.fromAsync(found.blocks())).flat();
        assert.deepEqual(
          blocks.map(({ number }) => Number(number)),
          numbers,
          where,
        );
        assert.deepEqual(found.tail.minipool, tail.minipool, where);
        assert.equal(found.tail.candidates.length, 1, where);
      }
    }
    await proxy.settled();
  });
});
