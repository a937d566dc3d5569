import process from "node:process";
import { newStreamId } from "../../../src/testing/contract/support.ts";
import { openSession } from "../migration_connection.ts";
import { openTestStorage } from "../storage.ts";

// The program of faults/leaks_test.ts uses a store, kills its connections, and
// closes it.
const data = new Uint8Array([1]);
const test = await openTestStorage();
const { storage, schema } = test;
const id = newStreamId();
await storage.createStreamStorage(id, { number: 0n, data, snapshot: data });
await Promise.all(
  Array.from(
    { length: 50 },
    (_, slot) => storage.writeEvent(id, 1n, slot, data),
  ),
);
const session = await openSession(test.url);
await session.script(
  `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
   WHERE pid <> pg_backend_pid() AND query LIKE '%${schema}%'`,
);
await storage.readStreamFromLastSnapshot(id, 0);
await storage.writeEvent(id, 1n, 50, data);
await session.close();
await test[Symbol.asyncDispose]();
process.stdout.write("closed\n");
