/**
 * Deno's own sanitizers find no operation, socket or timer that a closed store
 * has left. Bun has no sanitizers, so this file has no test there; leaks_test.ts
 * runs under both.
 */
import assert from "node:assert/strict";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { startProxy } from "../support/network/proxy.ts";
import { terminate, testSession } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";

const data = new Uint8Array([1]);
const genesis = { number: 0n, data, snapshot: data };

const cases: Record<string, (url: string) => Promise<void>> = {
  "a store that worked": async (url) => {
    await using test = await openTestStorage({ url });
    const { storage } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    const slots = Array.from({ length: 50 }, (_, slot) => slot);
    await Promise.all(
      slots.map((slot) => storage.writeEvent(id, 1n, slot, data)),
    );
    await Promise.all(
      slots.map(() => storage.readStreamFromLastSnapshot(id, 0)),
    );
    const controller = new AbortController();
    const { signal } = controller;
    const read = storage.getStreams({ signal });
    controller.abort();
    await assert.rejects(read);
  },
  "a store whose sessions were terminated": async (url) => {
    await using test = await openTestStorage({ url });
    const { storage, schema } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await using session = await testSession({ url });
    const rows = await session.script(
      `SELECT pid FROM pg_stat_activity
       WHERE pid <> pg_backend_pid() AND query LIKE '%${schema}%'`,
    );
    for (const [pid] of rows) await terminate(Number(pid));
    await storage.writeEvent(id, 1n, 0, data);
  },
  "a store whose server went away": async (url) => {
    await using proxy = await startProxy(url);
    const test = await openTestStorage({
      url: proxy.url,
      operationTimeoutMs: 200,
      retry: { attempts: 2, minDelayMs: 1, maxDelayMs: 5 },
    });
    const { storage } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    proxy.refuse(true);
    proxy.cutAll();
    await assert.rejects(
      storage.writeEvent(id, 1n, 0, data),
      (error) => isStreamStorageError(error),
    );
    await storage.close();
    proxy.refuse(false);
    await test[Symbol.asyncDispose]();
  },
  "a store that did not open": async (url) => {
    await using proxy = await startProxy(url);
    proxy.setRule(({ nth }) => nth > 3 ? "cut-before" : "forward");
    await assert.rejects(
      openTestStorage({ url: proxy.url, retry: { attempts: 1 } }),
    );
  },
};

if ("Deno" in globalThis) {
  const url = await testDatabaseUrl();
  for (const [name, run] of Object.entries(cases)) {
    Deno.test({
      name: `Closing leaves nothing of ${name}`,
      sanitizeOps: true,
      sanitizeResources: true,
      sanitizeExit: true,
      fn: () => run(url),
    });
  }
}
