/**
 * Answers of a scripted server: an answer that does not fit its question ends
 * the session, and an answer without an end is bounded in time and size. Some
 * tests of transactions and cancellation need a real server.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Exchange } from "../../src/database/exchange.ts";
import { ConnectionLostError, PgError } from "../../src/database/pg_error.ts";
import type { Session } from "../../src/database/session.ts";
import { bind, statement } from "../../src/database/statement.ts";
import { OpenTransactionError } from "../../src/database/transaction_status.ts";
import {
  bound,
  done,
  fakeServer,
  int4Row,
  message,
  parsed,
  ready,
  report,
} from "../support/fake_server.ts";
import { testSession, testTable } from "../support/sessions.ts";
import { untilSeen } from "../support/until.ts";

const one = statement({ text: "SELECT 1", columns: ["int4"], once: true });
const kept = statement({ text: "SELECT 1", columns: ["int4"] });

/** The error of a run, which must be a lost connection with unknown outcome. */
async function lost(answer: Promise<unknown>): Promise<ConnectionLostError> {
  const error = await answer.then(
    () => assert.fail("Expected no answer"),
    (error) => error,
  );
  assert.ok(error instanceof ConnectionLostError, String(error));
  assert.equal(error.sent, true);
  return error;
}

describe("An answer that does not fit", () => {
  const answers = {
    "from inside a transaction": [
      parsed,
      bound,
      int4Row(),
      done,
      ready("T"),
    ],
    "from inside a failed transaction": [report("E", "25P02"), ready("E")],
    "with a status that does not exist": [
      parsed,
      bound,
      int4Row(),
      done,
      ready("X"),
    ],
    "without a status": [parsed, bound, int4Row(), done, message("Z")],
    "without a result": [parsed, bound, ready()],
    "without the end of its rows": [parsed, bound, int4Row(), ready()],
    "with one result too many": [parsed, bound, int4Row(), done, done, ready()],
    "that reports no transaction after BEGIN": [
      parsed,
      bound,
      message("C", "BEGIN\0"),
      ready(),
    ],
    "with a row of -1 columns": [message("D", "\xff\xff"), ready()],
    "with a message that is too long": [
      Uint8Array.from([0x4e, 0x3f, 0xff, 0xff, 0xff, 0]),
    ],
    "with a notification without an end": [message("A", "\0\0\0\x01channel")],
  };
  for (const [name, messages] of Object.entries(answers)) {
    it(`${name} acknowledges nothing`, async () => {
      await using server = await fakeServer();
      const { session } = server;
      session.onNotification(() => {});
      const answer = session.run([bind(one)]);
      const behind = session.run([bind(one)]);
      server.say(...messages);
      const { cause } = await lost(answer);
      const isOpen = /inside/.test(name);
      assert.equal(cause instanceof OpenTransactionError, isOpen);
      await lost(behind);
      assert.equal(session.usable, false);
    });
  }

  it("acknowledges nothing in the section that parses, either", async () => {
    await using server = await fakeServer();
    const answer = server.session.run([bind(kept)]);
    server.say(parsed, ready("T"), bound, int4Row(), done, ready());
    await lost(answer);
  });

  const unasked = {
    answer: [ready()],
    row: [int4Row()],
    result: [done],
  };
  for (const [name, messages] of Object.entries(unasked)) {
    it(`ends the session if it is a ${name} without a question`, async () => {
      await using server = await fakeServer();
      server.say(...messages);
      await server.session.closed;
      const next = server.session.run([bind(one)]);
      await assert.rejects(next, { name: "ConnectionLostError", sent: false });
    });
  }

  it("is not confused with notices and parameters around one that fits", async () => {
    await using server = await fakeServer();
    const answer = server.session.run([bind(kept), bind(one)]);
    server.say(report("N", "01000"), message("S", "TimeZone\0UTC\0"));
    server.say(parsed, ready(), bound, int4Row(7), done);
    server.say(parsed, bound, int4Row(8), done, ready());
    const [first, second] = await answer;
    assert.deepEqual([first.rows, second.rows], [[[7]], [[8]]]);
  });
});

describe("A transaction that the caller began", () => {
  const command = (text: string) => bind(statement({ text, once: true }));

  async function assertOutside(session: Session): Promise<void> {
    const [row] = await session.script(
      "SELECT pg_current_xact_id_if_assigned()",
    );
    assert.deepEqual(row, [null]);
    assert.ok(session.usable);
  }

  it("may last longer than a flush, fail, and end", async () => {
    await using table = await testTable("id int4");
    await using session = await testSession();
    const insert = `INSERT INTO ${table.name} VALUES (1)`;
    await session.run([command("BEGIN"), command(insert)]);
    await session.run([command(insert)]);
    await session.run([command("SAVEPOINT a")]);
    await assert.rejects(session.run([command("SELECT 1 / 0")]), PgError);
    await session.run([command("ROLLBACK TO a"), command(insert)]);
    await session.run([command("COMMIT")]);
    await assertOutside(session);
    await session.script("START TRANSACTION; SELECT 1");
    await assert.rejects(session.script("SELECT 1 / 0; COMMIT"), PgError);
    await session.script("ROLLBACK");
    await assertOutside(session);
    await session.script(`BEGIN; ${insert}; COMMIT; SELECT 1`);
    await assertOutside(session);
    const rows = await session.script(`SELECT count(*) FROM ${table.name}`);
    assert.deepEqual(rows, [["4"]]);
  });

  it("ends even if its COMMIT is refused", async () => {
    await using table = await testTable(
      "id int4 UNIQUE DEFERRABLE INITIALLY DEFERRED",
    );
    await using session = await testSession();
    const insert = command(`INSERT INTO ${table.name} VALUES (1)`);
    const isRefused = (error: unknown) =>
      error instanceof PgError && error.sqlState === "23505";
    const atOnce = [command("BEGIN"), insert, insert, command("COMMIT")];
    await assert.rejects(session.run(atOnce), isRefused);
    await assertOutside(session);
    await session.run([command("BEGIN"), insert, insert]);
    await assert.rejects(session.run([command("COMMIT")]), isRefused);
    await assertOutside(session);
  });
});

describe("An answer without an end", () => {
  /** Sends these messages repeatedly, until the session breaks. */
  async function endless(
    messages: (nth: number) => Uint8Array[],
  ): Promise<{ error: ConnectionLostError; session: Session }> {
    await using server = await fakeServer({ answerTimeoutMs: 500 });
    const { session } = server;
    session.onNotification(() => {});
    const answer = lost(session.run([bind(one)]));
    let nth = 0;
    const timer = setInterval(() => server.say(...messages(++nth)), 10);
    try {
      return { error: await answer, session };
    } finally {
      clearInterval(timer);
    }
  }

  const besides = {
    notices: report("N", "01000"),
    parameters: message("S", "TimeZone\0UTC\0"),
    notifications: message("A", "\0\0\0\x01channel\0payload\0"),
  };
  for (const [name, each] of Object.entries(besides)) {
    it(`that consists of ${name} is given up`, async () => {
      const { error, session } = await endless(() => [each]);
      assert.match(error.message, /No answer from the server/);
      // The server sent something, so the other sessions are not in question.
      assert.equal(session.silentSince, undefined);
      assert.equal(session.isGivenUp, true);
    });
  }

  it("that consists of rows is bounded in time", async () => {
    const { session } = await endless(() => [int4Row()]);
    assert.equal(session.isGivenUp, true);
  });

  it("that consists of one row is bounded in time", async () => {
    const row = Uint8Array.from([0x44, 0, 1, 0, 0, 0, 1, 0, 0, 0xf0, 0]);
    const { session } = await endless((nth) => nth === 1 ? [row] : [bound]);
    assert.equal(session.isGivenUp, true);
  });

  it("that consists of rows is bounded in size", () => {
    const exchange = new Exchange({
      bound: [bind(one)],
      names: [""],
      parses: undefined,
      withinMs: 1,
    });
    const rows = (count: number, bytes: number) => {
      for (let i = 0; i < count; i++) exchange.row([], bytes);
    };
    rows(3, 256 * 1024 * 1024);
    assert.throws(() => rows(1, 256 * 1024 * 1024), RangeError);
  });

  it("that consists of a script's results is bounded in size", () => {
    const exchange = new Exchange({
      bound: undefined,
      names: [],
      parses: undefined,
      withinMs: 1,
    });
    exchange.row([], 1024 * 1024 * 1024 - 1000);
    assert.throws(() => {
      for (let i = 0; i < 8; i++) exchange.completed(0);
    }, RangeError);
  });
});

describe("A session that reports an error", () => {
  for (const sqlState of ["25006", "42P05", "08P01", "XX000"]) {
    it(`finishes its current work and ends, after ${sqlState}`, async () => {
      await using server = await fakeServer();
      const { session } = server;
      const refused = session.run([bind(one)]);
      const behind = session.run([bind(one)]);
      server.say(report("E", sqlState), ready());
      await assert.rejects(refused, { name: "PgError", sqlState });
      assert.ok(session.usable && session.isRetired);
      server.say(parsed, bound, int4Row(), done, ready());
      assert.deepEqual((await behind)[0].rows, [[1]]);
      await session.closed;
    });
  }

  it("goes on, after any other error", async () => {
    await using server = await fakeServer();
    const refused = server.session.run([bind(one)]);
    server.say(report("E", "42501"), ready());
    await assert.rejects(refused, PgError);
    assert.ok(server.session.usable && !server.session.isRetired);
  });
});

describe("A session that is given up", () => {
  it("has its work canceled, and is released when the server ends it", async () => {
    await using server = await fakeServer();
    const { session } = server;
    const answer = lost(session.run([bind(one)]));
    let isReleased = false;
    void session.released.then(() => isReleased = true);
    session.giveUp("Enough");
    await answer;
    await session.closed;
    await server.left;
    assert.equal(isReleased, false);
    assert.equal(server.cancels, 1);
    // Later answers are ignored.
    server.say(parsed, bound, int4Row(), done, ready());
    server.end();
    await session.released;
  });

  it("is canceled again while the server does not end it", async () => {
    await using server = await fakeServer();
    const answer = lost(server.session.run([bind(one)]));
    server.session.giveUp("Enough");
    await answer;
    while (server.cancels < 2) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    server.end();
    await server.session.released;
  });

  it("is dropped if the server accepts no cancel request", async () => {
    await using server = await fakeServer({ takesCancels: false });
    const answer = lost(server.session.run([bind(one)]));
    server.session.giveUp("Enough");
    await answer;
    await server.session.released;
  });

  it("stops the statement that a real server runs for it", async () => {
    await using other = await testSession();
    const session = await testSession();
    const { processId } = session;
    const isThere = async () => {
      const [row] = await other.script(
        `SELECT count(*) FROM pg_stat_activity
         WHERE pid = ${processId} AND query LIKE '%pg_sleep%'`,
      );
      return row![0] === "1";
    };
    const answer = lost(session.script("SELECT pg_sleep(600)"));
    await untilSeen(isThere);
    session.giveUp("Enough");
    await answer;
    await session.released;
    assert.equal(await isThere(), false);
  });
});
