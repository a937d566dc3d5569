/**
 * The entry point `testing`, used as its users use it: the contract over a
 * storage of their own, and stores on real servers.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { MemoryStreamStorage } from "../../src/memory/memory_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { parseStreamId } from "../../src/storage/stream_id.ts";
import * as testing from "../../src/testing/mod.ts";
import { queryOnce, testDatabaseUrl, uniqueName } from "../support/database.ts";

// This is what a user writes to test an implementation of their own.
testing.streamStorageContract(() => {
  const storage: testing.StreamStorage = new MemoryStreamStorage();
  return { storage, dispose: () => storage.close() };
}, {
  name: "A user's own storage",
  families: testing.CORE_FAMILIES,
  planting: false,
});

describe("The testing entry point", () => {
  const id = parseStreamId("20".repeat(32));
  const genesis = { number: 0n, data: new Uint8Array([1]) };

  const hasSchema = async (url: string, schema: string) => {
    const rows = await queryOnce(
      url,
      `SELECT 1 FROM pg_namespace WHERE nspname = '${schema}'`,
    );
    return rows.length > 0;
  };

  it("exports what deno.json promises, and nothing else", () => {
    const path = fileURLToPath(new URL("../../deno.json", import.meta.url));
    const { exports } = JSON.parse(readFileSync(path, "utf8"));
    assert.equal(exports["./testing"], "./src/testing/mod.ts");
    assert.deepEqual(Object.keys(testing).sort(), [
      "CORE_FAMILIES",
      "createTestStreamStorage",
      "formatMiniblocks",
      "randomFaults",
      "settable",
      "streamStorageContract",
      "withFaults",
    ]);
  });

  it("opens a store on a schema that is dropped with it", async () => {
    const url = await testDatabaseUrl();
    const test = await testing.createTestStreamStorage({ url });
    const { storage, schema } = test;
    assert.equal(test.url, url);
    assert.equal(storage.schema, schema);
    assert.equal(storage.partitions, 2);
    await storage.createStreamStorage(id, genesis);
    assert.match(
      await testing.formatMiniblocks(storage, id),
      /^channel 2020… 0━0 1 block, /,
    );
    assert.equal(await hasSchema(url, schema), true);
    await test[Symbol.asyncDispose]();
    assert.equal(await hasSchema(url, schema), false);
    await assert.rejects(
      storage.getStreamsNumber(),
      (error) => isStreamStorageError(error, "FAILED_PRECONDITION"),
    );
  });

  it("gives each store a schema of its own, or the one that the caller names", async () => {
    const url = await testDatabaseUrl();
    await using one = await testing.createTestStreamStorage({ url });
    await using other = await testing.createTestStreamStorage({
      url,
      schema: `${one.schema.slice(0, 40)}_other`,
      partitions: 1,
    });
    await one.storage.createStreamStorage(id, genesis);
    assert.equal(other.schema, `${one.schema.slice(0, 40)}_other`);
    assert.equal(other.storage.partitions, 1);
    assert.equal(await other.storage.getStreamsNumber(), 0);
  });

  it("leaves no schema behind if the store can't be opened", async () => {
    const url = await testDatabaseUrl();
    const schema = uniqueName("test");
    await assert.rejects(
      testing.createTestStreamStorage({ url, schema, migrate: "check" }),
      (error) => isStreamStorageError(error, "BAD_CONFIG"),
    );
    assert.equal(await hasSchema(url, schema), false);
  });

  it("starts a server if it gets no URL, and stops the server in the end", async () => {
    const test = await testing.createTestStreamStorage({ startupDelayMs: 0 });
    await test.storage.createStreamStorage(id, genesis);
    assert.equal(await test.storage.getLastMiniblockNumber(id), 0n);
    await test[Symbol.asyncDispose]();
    await assert.rejects(queryOnce(test.url, "SELECT 1"));
  });
});
