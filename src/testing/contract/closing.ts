/** close and [Symbol.asyncDispose]. */
import assert from "node:assert/strict";
import type { Suite } from "./suite.ts";
import {
  assertFails,
  block,
  bytes,
  newStreamId,
  run,
  settle,
} from "./support.ts";

/** Registers the tests. */
export function closingContract(suite: Suite): void {
  suite.test("close is idempotent and ends all calls", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, block(0));
    await Promise.all([storage.close(), storage.close()]);
    await storage.close();
    await storage[Symbol.asyncDispose]();
    await assertFails(storage.writeEvent(id, 1n, 0, bytes("late")), {
      code: "FAILED_PRECONDITION",
      reason: "closed",
      operation: "writeEvent",
    });
  });

  suite.test("disposing closes", async ({ storage }) => {
    await storage[Symbol.asyncDispose]();
    await assertFails(storage.getStreamsNumber(), {
      code: "FAILED_PRECONDITION",
      reason: "closed",
    });
  });

  suite.test("close finishes the calls that were accepted before it", async ({ storage }) => {
    const ids = run(1, 4).map(() => newStreamId());
    await Promise.all(
      ids.map((id) => storage.createStreamStorage(id, block(0))),
    );
    const writes = run(0, 9).flatMap((slot) =>
      ids.map((id) => storage.writeEvent(id, 1n, Number(slot), bytes("event")))
    );
    const written = settle(writes);
    await storage.close();
    assert.deepEqual(await written, { succeeded: 40, errors: [] });
  });
}
