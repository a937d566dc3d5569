/** The ring of recent transactions, as such and through a store's methods. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { openTestStorage } from "../support/storage.ts";

const data = new Uint8Array([1]);
const genesis = { number: 0n, data, snapshot: data };

describe("The ring of recent transactions", () => {
  it("records nothing while it is off, and forgets when it is switched off", async () => {
    await using test = await openTestStorage({ ephemeralSweepIntervalMs: 0 });
    const { storage } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    assert.deepEqual(storage.dumpTxTracker(), []);
    storage.enableTxTracker();
    await storage.getLastMiniblockNumber(id);
    await storage.writeEvent(id, 1n, 0, data);
    await assert.rejects(storage.deleteStream(newStreamId()));
    const dump = storage.dumpTxTracker();
    assert.deepEqual(dump.map(({ name, event }) => `${name} ${event}`), [
      "getLastMiniblockNumber begin",
      "getLastMiniblockNumber commit",
      "sharedWrites begin",
      "sharedWrites commit",
      "deleteStream begin",
      "deleteStream rollback",
    ]);
    assert.equal(dump[0]?.tags, id);
    assert.equal(dump[2]?.tags, id);
    const ages = dump.map(({ ageMs }) => ageMs);
    assert.deepEqual(ages, ages.toSorted((a, b) => b - a));
    assert.ok(ages.every((age) => age >= 0));
    storage.disableTxTracker();
    assert.deepEqual(storage.dumpTxTracker(), []);
    await storage.getLastMiniblockNumber(id);
    assert.deepEqual(storage.dumpTxTracker(), []);
  });

  it("is on from the start if an option says so, and keeps the last 1024 events", async () => {
    await using test = await openTestStorage({
      debugTransactions: true,
      ephemeralSweepIntervalMs: 0,
    });
    const { storage } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    assert.equal(storage.dumpTxTracker()[0]?.tags, id);
    for (let i = 0; i < 600; i++) await storage.getLastMiniblockNumber(id);
    const dump = storage.dumpTxTracker();
    assert.equal(dump.length, 1024);
    assert.ok(dump.every(({ name }) => name === "getLastMiniblockNumber"));
    assert.equal(dump.at(-1)?.event, "commit");
  });
});
