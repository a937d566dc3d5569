/**
 * getMiniblockNumberRanges of a stream whose search takes longer than a call
 * may, on a scripted database: the deadline holds, and the next call continues
 * where the last one ended.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Bound } from "../../src/database/statement.ts";
import type { TransactionContext } from "../../src/database/read_transactions.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import { getMiniblockNumberRanges } from "../../src/postgres/operations/miniblock_numbers.ts";
import {
  selectUnsearched,
  selectWholeRun,
} from "../../src/postgres/sql/reading.ts";
import type { Store } from "../../src/postgres/store.ts";
import { StreamCache } from "../../src/postgres/stream_cache.ts";
import {
  block,
  legacyBlock,
  newStreamId,
  run,
} from "../../src/testing/contract/support.ts";

const first = 5n;
const last = 1004n;
const pageBlocks = 100n;
const name = "getMiniblockNumberRanges";

/** A stream of 1000 blocks, every 50th with a snapshot inside. */
class Tables {
  readonly id = newStreamId();
  /** The first block of each page of data that was read. */
  readonly pages: bigint[] = [];
  readonly deadlines = new Set<number | undefined>();
  /** Pages that can be read before the database falls silent. */
  patience = Infinity;
  readonly #catalog = new Catalog("schema", 1);

  get store(): Store {
    const read = (
      context: TransactionContext,
      [{ statement, values }]: readonly [Bound],
    ) => {
      this.deadlines.add(context.deadline);
      const rows = statement === this.#catalog.of(this.id, selectWholeRun)
        ? [["D", last - first + 1n, first, last, new Uint8Array()]]
        : this.#page(statement, values as [string, bigint, bigint]);
      return Promise.resolve([{ rows, count: rows.length }]);
    };
    return {
      catalog: this.#catalog,
      cache: this.#cache,
      transactions: { read },
    } as unknown as Store;
  }
  readonly #cache = new StreamCache();

  #page(statement: unknown, [, from, to]: [string, bigint, bigint]) {
    assert.equal(statement, this.#catalog.of(this.id, selectUnsearched));
    if (this.pages.length >= this.patience) throw new Error("silence");
    this.pages.push(from);
    const end = from + pageBlocks - 1n;
    const blocks = run(from, end < to ? end : to).map((number) =>
      number % 50n === 0n ? legacyBlock(number) : block(number)
    );
    const data = blocks.flatMap(({ data }) => [...data]);
    return [[
      blocks.map(({ number }) => number),
      blocks.map(({ data }) => BigInt(data.length)),
      new Uint8Array(data),
    ]];
  }
}

const expected = [{
  startInclusive: first,
  endInclusive: last,
  snapshotSeqNums: run(1, 20).map((n) => n * 50n),
}];

describe("A search of a long stream", () => {
  it("passes the call's deadline to every statement", async () => {
    const tables = new Tables();
    const call = { name, streamId: tables.id, deadline: 77 };
    assert.deepEqual(
      await getMiniblockNumberRanges(tables.store, call),
      expected,
    );
    assert.equal(tables.pages.length, 10);
    assert.deepEqual([...tables.deadlines], [77]);
  });

  it("continues where the last call ended", async () => {
    const tables = new Tables();
    const call = { name, streamId: tables.id };
    for (const patience of [3, 4, 9]) {
      tables.patience = patience;
      await assert.rejects(
        getMiniblockNumberRanges(tables.store, call),
        /silence/,
      );
    }
    tables.patience = Infinity;
    assert.deepEqual(
      await getMiniblockNumberRanges(tables.store, call),
      expected,
    );
    const pages = run(0, 9).map((n) => first + n * pageBlocks);
    assert.deepEqual(tables.pages, pages);
    await getMiniblockNumberRanges(tables.store, call);
    assert.deepEqual(tables.pages, pages);
  });
});
