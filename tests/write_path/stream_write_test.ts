/** What every kind of write has in common, without a server. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RejectedError } from "../../src/database/read_transactions.ts";
import type { WriteContext } from "../../src/database/transactions.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import { creating } from "../../src/postgres/operations/leftovers.ts";
import type { Store, StreamCall } from "../../src/postgres/store.ts";
import { StreamCache } from "../../src/postgres/stream_cache.ts";
import { runAlone } from "../../src/postgres/write_path/stream_write.ts";
import { streamNotFound } from "../../src/storage/contract_errors.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";

const streamId = newStreamId("channel");
const call: StreamCall = {
  name: "test",
  streamId,
  deadline: 5000,
  signal: new AbortController().signal,
};

/** A store whose transactions are what `write` does. */
function storeOf(write: (context: WriteContext) => Promise<unknown>): Store {
  return {
    catalog: new Catalog("schema", 1),
    cache: new StreamCache(),
    isolationLevel: "read committed",
    fence: {},
    transactions: { write },
  } as unknown as Store;
}

const refusing = (reason: string) =>
  storeOf(() => Promise.reject(new RejectedError({ reason, figures: {} })));

describe("A kind of write", () => {
  it("looks for its rows behind the fence, and no signal stops the look", async () => {
    const looks: StreamCall[] = [];
    const losing = storeOf(async ({ wasDone }) =>
      await wasDone!() ? undefined : []
    );
    const wasDone = (look: StreamCall) => {
      looks.push(look);
      return Promise.resolve(true);
    };
    await runAlone(losing, call, { bound: [], wasDone }, false);
    const { name, deadline } = call;
    assert.deepEqual(looks, [{ name, streamId, deadline, isFenced: true }]);
  });

  it("throws the error that a refusal means, and settles with anything else", async () => {
    const run = (refused: () => ReturnType<typeof streamNotFound> | number) =>
      runAlone(refusing("gone"), call, { bound: [], refused }, false);
    const error = streamNotFound(streamId);
    await assert.rejects(run(() => error), error);
    assert.equal(await run(() => 7), 7);
  });

  it("reports a change by another writer if it does not know the refusal", async () => {
    const changed = { details: { reason: "stream_changed", streamId } };
    const store = refusing("unknown");
    const write = { bound: [] };
    await assert.rejects(runAlone(store, call, write, false), changed);
    const creation = creating(store, call, write);
    await assert.rejects(runAlone(store, call, creation, false), changed);
  });
});
