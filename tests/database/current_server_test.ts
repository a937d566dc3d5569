/**
 * All sessions of a store are on one server and one timeline, here with fake
 * sessions: src/database/current_server.ts.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  CurrentServer,
  factsOf,
  type ServerMove,
  WrongServerError,
} from "../../src/database/current_server.ts";
import { PgError } from "../../src/database/pg_error.ts";
import type { Session } from "../../src/database/session.ts";
import { testSession } from "../support/sessions.ts";

const [first, second] = [
  { host: "first", port: 1 },
  { host: "second", port: 2 },
];

/** A session that can only end. */
class FakeSession {
  inFlight = 0;
  receivedAt = 0;
  silentSince: number | undefined;
  destroyed: string | undefined;
  readonly #closed = Promise.withResolvers<void>();

  get usable(): boolean {
    return this.destroyed === undefined;
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  get released(): Promise<void> {
    return this.#closed.promise;
  }

  destroy(reason: string): void {
    this.destroyed = reason;
    this.#closed.resolve();
  }
}

function at(
  timeline: number | undefined,
  { system = "7300", takesWrites = timeline !== undefined } = {},
) {
  const isStandby = !takesWrites;
  return { system, timeline, takesWrites, isStandby, version: "18.4" };
}

function fakeServer() {
  const server = new CurrentServer();
  const moves: ServerMove[] = [];
  server.onMove((move) => moves.push(move));
  const admit = (facts: ReturnType<typeof at>, address = first) => {
    const session = new FakeSession();
    server.admit(session as unknown as Session, facts, address);
    return session;
  };
  return { server, moves, admit };
}

describe("The facts of a server", () => {
  it("are read from a real one", async () => {
    await using session = await testSession();
    const facts = await factsOf(session);
    const { system, timeline, takesWrites, version } = facts;
    assert.match(version, /^\d+/);
    assert.match(system ?? "", /^\d+$/);
    assert.ok(timeline !== undefined && timeline >= 1);
    assert.equal(takesWrites, true);
  });

  it("lack the timeline if the server hides it, as managed ones do", async () => {
    const { server, admit } = fakeServer();
    admit(at(3));
    const answers = [
      new PgError(new Map([["C", "0A000"]]), 0),
      [{ rows: [[true, false, "17.6 (Debian 17.6-1)"]], count: 1 }],
    ];
    const session = {
      run: () => {
        const answer = answers.shift();
        return answer instanceof Error
          ? Promise.reject(answer)
          : Promise.resolve(answer);
      },
    } as unknown as Session;
    const facts = await factsOf(session);
    assert.deepEqual(facts, {
      system: undefined,
      timeline: undefined,
      takesWrites: true,
      isStandby: false,
      version: "17.6",
    });
    server.follow(facts, second);
    assert.equal(server.timeline, 3);
  });
});

describe("The current server of a store", () => {
  it("is of another cluster after the store has moved there", () => {
    const { server, moves, admit } = fakeServer();
    const before = admit(at(3));
    const { numbering } = server;
    server.relocate(second);
    assert.notEqual(server.numbering, numbering);
    assert.equal(server.timeline, undefined);
    // A session of the last server comes late.
    assert.throws(() => admit(at(3), first), WrongServerError);
    admit(at(1, { system: "7400" }), second);
    assert.deepEqual([server.system, server.timeline], ["7400", 1]);
    assert.equal(before.destroyed, undefined, "It can't finish its work");
    assert.deepEqual(moves, []);
    admit(at(2, { system: "7400" }), second);
    assert.deepEqual(moves, [{ from: 1, to: 2 }]);
  });

  it("is the same for every session on one timeline", () => {
    const { server, moves, admit } = fakeServer();
    const sessions = [admit(at(3)), admit(at(3), second)];
    assert.deepEqual(moves, []);
    assert.equal(server.timeline, 3);
    assert.ok(sessions.every(({ destroyed }) => destroyed === undefined));
  });

  it("ends all other sessions when it moves to a higher timeline", () => {
    const { moves, admit } = fakeServer();
    const old = [admit(at(3)), admit(at(3))];
    const next = admit(at(4), second);
    assert.deepEqual(moves, [{ from: 3, to: 4 }]);
    assert.ok(old.every(({ destroyed }) => destroyed !== undefined));
    assert.equal(next.destroyed, undefined);
  });

  it("refuses sessions on a lower timeline, or of another cluster", () => {
    const { moves, admit } = fakeServer();
    admit(at(4));
    assert.throws(() => admit(at(3)), WrongServerError);
    assert.throws(() => admit(at(5, { system: "8" })), WrongServerError);
    assert.deepEqual(moves, []);
  });

  it("moves if only a survey reports a higher timeline", () => {
    const { server, moves, admit } = fakeServer();
    const session = admit(at(1));
    server.follow(at(2), second);
    assert.deepEqual(moves, [{ from: 1, to: 2 }]);
    assert.ok(session.destroyed);
    assert.throws(() => server.follow(at(1), first), WrongServerError);
  });

  it("does not move to a standby, which has no timeline of its own", () => {
    const { server, moves, admit } = fakeServer();
    admit(at(3));
    admit(at(undefined), second);
    assert.deepEqual([moves, server.timeline], [[], 3]);
    assert.deepEqual(server.ordered([second, first]), [first, second]);
  });

  it("is tried before other hosts", () => {
    const { server, admit } = fakeServer();
    assert.deepEqual(server.ordered([first, second]), [first, second]);
    admit(at(1), second);
    assert.deepEqual(server.ordered([first, second]), [second, first]);
  });

  it("ends the idle sessions that received nothing since one fell silent", async () => {
    const { admit } = fakeServer();
    const [silent, idle, recent, busy] = [
      admit(at(1)),
      admit(at(1)),
      admit(at(1)),
      admit(at(1)),
    ];
    recent!.receivedAt = 20;
    busy!.inFlight = 1;
    silent!.silentSince = 10;
    silent!.destroy("No answer");
    await silent!.closed;
    assert.match(idle!.destroyed ?? "", /fell silent/);
    assert.equal(recent!.destroyed, undefined);
    assert.equal(busy!.destroyed, undefined);
  });
});
