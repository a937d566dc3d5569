import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ServerIdentity } from "../src/database/server_identity.ts";
import type { Session } from "../src/database/session.ts";
import { testSession } from "./support/sessions.ts";

/** A session on a server of this identity. */
const sessionOn = (identity: string | Error) =>
  Promise.resolve({
    run: () =>
      identity instanceof Error
        ? Promise.reject(identity)
        : Promise.resolve([{ rows: [[identity]], count: 1 }]),
    destroy() {},
  } as unknown as Session);

describe("The identity of a server", () => {
  it("is the same for every session to one server", async () => {
    let changes = 0;
    const server = new ServerIdentity(() => changes++);
    for (let i = 0; i < 3; i++) {
      await using session = await server.reached(testSession());
      assert.ok(session.usable);
    }
    assert.equal(changes, 0);
  });

  it("is another one after a promotion, and told each time", async () => {
    let changes = 0;
    const server = new ServerIdentity(() => changes++);
    for (const timeline of ["01", "01", "02", "02", "01"]) {
      await server.reached(sessionOn(`7300000000000000000000000${timeline}`));
    }
    assert.equal(changes, 2);
  });

  it("is needed: a session that does not tell it is given up", async () => {
    const server = new ServerIdentity(() => assert.fail("Nothing changed"));
    const error = new Error("Gone");
    await assert.rejects(server.reached(sessionOn(error)), error);
    await assert.rejects(server.reached(Promise.reject(error)), error);
  });
});
