import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { Session } from "../../../src/database/session.ts";
import { bind, statement } from "../../../src/database/statement.ts";

const gate = 4_712;
const passGate = statement({
  text: `SELECT pg_advisory_xact_lock(${gate})::text`,
  columns: ["text"],
});
const digest = statement({
  text: "SELECT sha256($1)",
  params: ["bytea"],
  columns: ["bytea"],
});

/**
 * Sends more than the system buffers for a server that reads nothing for a
 * while. The rest waits in this process, and must arrive unchanged.
 */
export async function checkUnread(
  session: Session,
  holder: Session,
): Promise<void> {
  await holder.script(`SELECT pg_advisory_lock(${gate})`);
  const passed = session.run([bind(passGate)]);
  const runs: Promise<unknown>[] = [];
  for (let nth = 0; nth < 4000; nth++) {
    const value = new Uint8Array(6000).fill(nth & 255);
    new DataView(value.buffer).setUint32(0, nth);
    const expected = createHash("sha256").update(value).digest("hex");
    runs.push(
      session.run([bind(digest, value)]).then(([{ rows: [row] }]) =>
        assert.equal(Buffer.from(row![0]).toString("hex"), expected)
      ),
    );
    // Each value gets a flush of its own.
    await Promise.resolve();
  }
  await holder.script(`SELECT pg_advisory_unlock(${gate})`);
  await passed;
  await Promise.all(runs);
}
