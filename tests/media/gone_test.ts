/**
 * A stream is deleted between two looks of the offloader, whose tables are
 * scripted.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Bound } from "../../src/database/statement.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import type { Media } from "../../src/postgres/media.ts";
import { offloadStream } from "../../src/postgres/operations/offload.ts";
import {
  selectMovable,
  selectVersions,
} from "../../src/postgres/sql/offloading.ts";
import type { Store } from "../../src/postgres/store.ts";
import { assertFails } from "../../src/testing/contract/support.ts";
import { newMediaId } from "../support/media/streams.ts";

/**
 * Offloads a stream without blocks. Each look finds what is listed: its row, or
 * nothing.
 */
async function offload(looks: unknown[][][]): Promise<unknown> {
  const catalog = new Catalog("schema", 1);
  const streamId = newMediaId();
  const left = looks.values();
  const answer = ({ statement }: Bound) => {
    if (statement === catalog.of(streamId, selectMovable)) {
      return left.next().value;
    }
    assert.equal(statement, catalog.of(streamId, selectVersions));
    return [];
  };
  const read = (_: unknown, bound: readonly Bound[]) =>
    Promise.resolve(bound.map((one) => ({ rows: answer(one) })));
  const store = { catalog, transactions: { read }, server: { numbering: 1 } };
  const media = {
    turn: (_: unknown, body: () => Promise<unknown>) => body(),
  };
  return await offloadStream(
    store as unknown as Store,
    { name: "offloadMedia", streamId },
    media as unknown as Media,
    { onlySealed: false },
  );
}

describe("A stream without blocks", () => {
  const here = [[false, "D", 0n, false]];
  it("can't be moved", () =>
    assertFails(offload([here, here]), {
      code: "FAILED_PRECONDITION",
      reason: "no_miniblocks",
    }));

  it("is not found if it was deleted after the first look", () =>
    assertFails(offload([here, []]), {
      code: "NOT_FOUND",
      reason: "stream_not_found",
    }));
});
