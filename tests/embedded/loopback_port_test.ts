/** The search for a free port of the loopback address, against takers of ports. */
import assert from "node:assert/strict";
import type { Server } from "node:net";
import { describe, it } from "node:test";
import { startOnLoopback } from "../../src/embedded/loopback_port.ts";
import { close, listen, portOf } from "../support/network/listener.ts";

describe("A start on a free port", () => {
  it("tries another port if somebody took the first one meanwhile", async () => {
    const takers: Server[] = [];
    const failTwice = async (port: number) => {
      if (takers.length === 2) return port;
      takers.push(await listen(port));
      throw new Error("Taken");
    };
    const port = await startOnLoopback(undefined, failTwice);
    assert.equal(takers.length, 2);
    assert.ok(!takers.some((taker) => portOf(taker) === port));
    await assert.rejects(
      startOnLoopback(undefined, async (port) => {
        takers.push(await listen(port));
        throw new Error("Taken");
      }),
      /Taken/,
    );
    assert.equal(takers.length, 5);
    let calls = 0;
    const failOnItsOwn = () => {
      calls++;
      return Promise.reject(new Error("Own fault"));
    };
    await assert.rejects(startOnLoopback(undefined, failOnItsOwn), /Own fault/);
    assert.equal(calls, 1);
    await Promise.all(takers.map(close));
  });
});
