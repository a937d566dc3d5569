/**
 * The trimmer remembers facts of streams, and forgets them when they may have
 * changed. Its tables are scripted, so that a test sees what a run asks for.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Bound } from "../../src/database/statement.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import { resolveTrimming } from "../../src/postgres/live_options.ts";
import {
  countSnapshotsAbove,
  selectCursor,
  selectDataOf,
  selectSnapshots,
  selectTrimmingMark,
  selectTrimmingPage,
  selectTrimState,
} from "../../src/postgres/sql/trimming.ts";
import type { Store } from "../../src/postgres/store.ts";
import type { TrimmingOptions } from "../../src/postgres/trimming_options.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  legacyBlock,
  newStreamId,
} from "../../src/testing/contract/support.ts";
import { StreamTrimmer } from "../../src/workers/stream_trimmer.ts";
import { DueStreams } from "../../src/workers/due_streams.ts";

/** A stream of blocks 0 to 600, the last with the only snapshot. */
class Tables {
  readonly id = newStreamId("channel");
  /** How many snapshots were written since the stream was trimmed. */
  snapshots = 1n;
  /** The blocks from which on the trimmer has looked for snapshots to clear. */
  readonly clearedFrom: bigint[] = [];
  /** How often the trimmer has looked at the stream. */
  looks = 0;
  /** How often it has counted the stream's snapshots. */
  counts = 0;
  /** The data of the last block, if its snapshot is inside. */
  inside: Uint8Array | null = null;
  /** Runs in the middle of the next look. */
  meanwhile = () => {};
  readonly #catalog = new Catalog("schema", 1);

  get store(): Store {
    const write = (_: unknown, compose: () => readonly unknown[]) =>
      Promise.resolve(compose().map(() => ({ rows: [], count: 1 })));
    const read = (_: unknown, [bound]: readonly Bound[]) => {
      const { meanwhile } = this;
      this.meanwhile = () => {};
      meanwhile();
      return Promise.resolve([{ rows: this.#answer(bound!) }]);
    };
    return {
      catalog: this.#catalog,
      transactions: { read, write },
      fence: { statement: undefined },
    } as unknown as Store;
  }

  #answer({ statement, values }: Bound): unknown[][] {
    switch (statement) {
      case this.#catalog.of(this.id, selectTrimState):
        this.looks++;
        return [[
          ...[600n, false, "D", true, 601n, 0n, 600n, 1n],
          ...[this.inside === null, this.inside],
        ]];
      case this.#catalog.of(this.id, selectDataOf):
        // The stream's blocks have moved to object storage meanwhile.
        return [];
      case this.#catalog.of(this.id, selectSnapshots):
        this.clearedFrom.push(values[1] as bigint);
        return [];
      case this.#catalog.of(this.id, selectTrimmingMark):
        return [[600n, null]];
      case this.#catalog.of(this.id, countSnapshotsAbove):
        this.counts++;
        return [[this.snapshots]];
      case this.#catalog.at("", selectTrimmingPage):
      case this.#catalog.at("", selectCursor):
        return values.length > 1 ? [] : [[null]];
      default:
        throw new Error(statement.text);
    }
  }

  trimmer(trimming: TrimmingOptions): StreamTrimmer {
    return new StreamTrimmer({
      store: this.store,
      trimming: resolveTrimming(trimming),
      wake: () => {},
      onEvent: () => assert.fail(),
    });
  }
}

const { signal } = new AbortController();

const clearing = { activationFactor: 1, snapshotRetentionInterval: 150n };

describe("The block up to which the trimmer has cleared snapshots", () => {
  /** Reports a snapshot, and lets the trimmer look at the stream. */
  async function trim(tables: Tables, trimmer: StreamTrimmer) {
    trimmer.snapshotWritten(tables.id);
    await trimmer.runOnce(signal);
  }

  it("is remembered until the stream is forgotten", async () => {
    const tables = new Tables();
    const trimmer = tables.trimmer(clearing);
    for (
      const forget of [
        () => {},
        () => trimmer.forget(newStreamId("channel")),
        () => trimmer.forget(tables.id),
        () => {},
        () => trimmer.forgetAll(),
        () => {},
      ]
    ) {
      await trim(tables, trimmer);
      forget();
    }
    assert.deepEqual(tables.clearedFrom, [0n, 450n, 450n, 0n, 450n, 0n]);
  });

  it("is not remembered if the stream changes meanwhile", async () => {
    const tables = new Tables();
    const trimmer = tables.trimmer(clearing);
    for (
      const meanwhile of [
        () => trimmer.forget(tables.id),
        () => trimmer.forgetAll(),
        () => {},
        () => {},
      ]
    ) {
      tables.meanwhile = meanwhile;
      await trim(tables, trimmer);
    }
    assert.deepEqual(tables.clearedFrom, [0n, 0n, 0n, 450n]);
  });
});

describe("The number of a stream's snapshots since it was trimmed", () => {
  it("is counted again if it was forgotten", async () => {
    const tables = new Tables();
    const trimmer = tables.trimmer({ ...clearing, activationFactor: 4 });
    const countsMade = async (): Promise<number> => {
      const before = tables.counts;
      trimmer.snapshotWritten(tables.id);
      await trimmer.runOnce(signal);
      return tables.counts - before;
    };
    assert.equal(await countsMade(), 1);
    assert.equal(await countsMade(), 0);
    trimmer.forget(tables.id);
    assert.equal(await countsMade(), 1);
    trimmer.forgetAll();
    assert.equal(await countsMade(), 1);
    tables.meanwhile = () => trimmer.forget(tables.id);
    trimmer.forget(tables.id);
    assert.equal(await countsMade(), 1);
    // The stream was forgotten while it was counted.
    assert.equal(await countsMade(), 1);
    assert.equal(tables.looks, 0);
  });

  it("is no longer certain for due streams that were forgotten", () => {
    const due = new DueStreams();
    const [a, b] = ["a", "b"] as StreamId[] as [StreamId, StreamId];
    for (const id of [a, b]) due.snapshotWritten(id, 1);
    due.forget(b);
    assert.deepEqual(due.take(1), [{ streamId: a, isCertain: true }]);
    due.add({ streamId: a, isCertain: true });
    due.forgetAll();
    const uncertain = [b, a].map((streamId) => ({
      streamId,
      isCertain: false,
    }));
    assert.deepEqual(due.take(9), uncertain);
  });
});

describe("A latest snapshot that is inside its block", () => {
  it("does not count as missing if the stream moves during the look", async () => {
    const tables = new Tables();
    tables.inside = legacyBlock(600).data;
    const trimmer = tables.trimmer(clearing);
    trimmer.snapshotWritten(tables.id);
    await trimmer.runOnce(signal);
    assert.equal(tables.looks, 1);
    assert.deepEqual(tables.clearedFrom, [0n], "The stream was not trimmed");
  });
});

describe("A target that was reached", () => {
  it("is looked at again if its cut may be lost", async () => {
    const tables = new Tables();
    const trimmer = tables.trimmer({
      targets: [{ streamId: tables.id, miniblock: 0n }],
    });
    for (let n = 0; n < 2; n++) {
      await trimmer.runOnce(signal);
      await trimmer.runOnce(signal);
      assert.equal(tables.looks, n + 1);
      trimmer.forgetAll();
    }
  });
});
