/**
 * When a worker runs, stops, pauses and reports, with a clock and runs that the
 * test controls.
 */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { describe, it } from "node:test";
import { StreamStorageError } from "../../src/storage/errors.ts";
import type { Operations } from "../../src/telemetry/operations.ts";
import { Calls } from "../../src/workers/calls.ts";
import { Gate } from "../../src/workers/gate.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import type { WorkerReport } from "../../src/workers/worker.ts";
import {
  type WorkerEvent,
  WorkerLoop,
  type WorkerLoopOptions,
  type WorkerRun,
} from "../../src/workers/worker_loop.ts";
import { TestClock } from "../support/test_clock.ts";

const nothing: WorkerReport = { done: 0, failed: 0, more: false };

/** A run, which the test ends. */
interface Run {
  signal: AbortSignal;
  resolve(report: WorkerReport): void;
  reject(error: unknown): void;
}

/** Makes a worker that runs every 1000 ms, and whose runs the test ends. */
function fixture(options: Partial<WorkerLoopOptions> = {}, name = "testing") {
  const clock = new TestClock();
  const begun: Run[] = [];
  const events: WorkerEvent[] = [];
  const runs: WorkerRun[] = [];
  const worker = {
    name,
    runOnce: (signal: AbortSignal) => {
      const { promise, resolve, reject } = Promise.withResolvers<
        WorkerReport
      >();
      begun.push({ signal, resolve, reject });
      return promise;
    },
  };
  const loop = new WorkerLoop(worker, {
    intervalMs: 1000,
    timeoutMs: 5000,
    failuresToOpen: 3,
    maxPauseMs: 10_000,
    clock,
    gate: new Gate(1),
    onEvent: (event) => events.push(event),
    onRun: (run) => runs.push(run),
    ...options,
  });
  /** Ends the run that began last. */
  const end = async (how: WorkerReport | Error) => {
    const run = begun.at(-1)!;
    if (how instanceof Error) run.reject(how);
    else run.resolve(how);
    await setImmediate();
  };
  return { loop, clock, begun, events, runs, end };
}

const fault = () =>
  new StreamStorageError({ code: "UNAVAILABLE", message: "" });

describe("A worker", () => {
  it("runs soon after its start, then an interval after each end", async () => {
    const { loop, clock, begun, end } = fixture();
    loop.start();
    loop.start();
    assert.deepEqual(clock.timers, [50]);
    await clock.pass(50);
    assert.equal(begun.length, 1);
    await clock.pass(3000);
    assert.equal(begun.length, 1, "A second run began during the first");
    await end(nothing);
    assert.deepEqual(clock.timers, [1000]);
    await clock.pass(1000);
    assert.equal(begun.length, 2);
    await end(nothing);
    await loop.stop();
    assert.deepEqual(clock.timers, []);
  });

  it("varies the interval by up to a tenth", async () => {
    const clock = new TestClock();
    for (const [chance, delay] of [[0, 900], [0.999, 1100]] as const) {
      clock.random = () => chance;
      const { loop, begun, end } = fixture({ clock });
      loop.start();
      await clock.pass(100);
      assert.equal(begun.length, 1);
      await end(nothing);
      assert.deepEqual(clock.timers, [delay]);
      await loop.stop();
    }
  });

  it("runs at once when it is woken, but never twice at a time", async () => {
    const { loop, clock, begun, end } = fixture();
    loop.wake();
    assert.deepEqual(clock.timers, [], "It runs before its start");
    loop.start();
    loop.wake();
    await clock.pass(0);
    assert.equal(begun.length, 1);
    loop.wake();
    loop.wake();
    await clock.pass(0);
    assert.equal(begun.length, 1);
    await end(nothing);
    await clock.pass(0);
    assert.equal(begun.length, 2, "A wake during the run was forgotten");
    await end(nothing);
    assert.deepEqual(clock.timers, [1000]);
    await loop.stop();
  });

  it("runs again at once if there is more to do", async () => {
    const { loop, clock, begun, end } = fixture();
    loop.start();
    await clock.pass(50);
    await end({ done: 5, failed: 0, more: true });
    await clock.pass(0);
    assert.equal(begun.length, 2);
    await end({ done: 1, failed: 0, more: false });
    await clock.pass(999);
    assert.equal(begun.length, 2);
    await loop.stop();
  });

  it("aborts its run when it is stopped, waits for the end, and can start again", async () => {
    const { loop, clock, begun, end, runs } = fixture();
    loop.start();
    await clock.pass(50);
    let isStopped = false;
    const stopping = loop.stop().then(() => isStopped = true);
    const again = loop.stop();
    await setImmediate();
    assert.equal(isStopped, false);
    const { signal } = begun[0]!;
    assert.equal(signal.aborted, true);
    await end(signal.reason);
    await Promise.all([stopping, again]);
    assert.deepEqual(runs.map(({ outcome }) => outcome), ["stopped"]);
    assert.deepEqual(loop.state.failuresInARow, 0);
    assert.deepEqual(clock.timers, []);
    await loop.stop();
    loop.start();
    await clock.pass(50);
    assert.equal(begun.length, 2);
    await end(nothing);
    await loop.stop();
  });

  it("no longer waits for other workers when it is stopped", async () => {
    const gate = new Gate(1);
    const first = fixture({ gate });
    const second = fixture({ gate });
    first.loop.start();
    await first.clock.pass(50);
    second.loop.start();
    await second.clock.pass(50);
    await second.loop.stop();
    assert.equal(second.begun.length, 0);
    await first.end(nothing);
    await first.loop.stop();
  });

  it("aborts a run that lasts too long, which then has failed", async () => {
    const { loop, clock, begun, end, events, runs } = fixture();
    loop.start();
    await clock.pass(50);
    await clock.pass(4999);
    assert.equal(begun[0]!.signal.aborted, false);
    await clock.pass(1);
    const { reason } = begun[0]!.signal;
    assert.equal(reason.details.reason, "worker_timeout");
    await end(reason);
    assert.deepEqual(runs.map((run) => [run.outcome, run.milliseconds]), [
      ["failed", 5000],
    ]);
    assert.deepEqual(events.map(({ code, details }) => [code, details]), [[
      "worker_failed",
      {
        worker: "testing",
        failures: 1,
        error: "DEADLINE_EXCEEDED",
        reason: "worker_timeout",
        message: "Run of worker testing lasted more than 5000 ms",
      },
    ]]);
    await loop.stop();
  });
});

describe("A worker that ignores its signal", () => {
  it("is reported and loses its place to others, but is not run twice", async () => {
    const gate = new Gate(1);
    const { loop, clock, begun, end, events, runs } = fixture({
      gate,
      graceMs: 700,
    });
    const other = fixture({ gate, clock }, "other");
    loop.start();
    await clock.pass(50);
    other.loop.start();
    await clock.pass(5000);
    assert.equal(begun[0]!.signal.aborted, true);
    await clock.pass(699);
    assert.deepEqual([runs.length, other.begun.length], [0, 0]);
    await clock.pass(1);
    assert.deepEqual([runs.length, other.begun.length], [1, 1]);
    await other.end(nothing);
    await other.loop.stop();
    const logged = events.map(({ code, details }) => [code, details["reason"]]);
    assert.deepEqual(logged, [["worker_failed", "worker_goes_on"]]);
    assert.equal(loop.state.running, true);

    // Until the run ends, every later run and every call fails.
    await clock.pass(1000);
    assert.equal(begun.length, 1);
    assert.equal(loop.state.failuresInARow, 2);
    const { signal } = new AbortController();
    const goesOn = (error: StreamStorageError) =>
      error.details["reason"] === "worker_goes_on";
    await assert.rejects(loop.run(signal, () => Promise.resolve(1)), goesOn);
    await end(new Error("late"));
    assert.equal(loop.state.running, false);
    assert.equal(await loop.run(signal, () => Promise.resolve(1)), 1);
    await clock.pass(1000);
    assert.equal(begun.length, 2);
    await end(nothing);
    assert.equal(loop.state.failuresInARow, 0);
    await loop.stop();
    assert.deepEqual(clock.timers, []);
  });

  it("does not keep the store from closing", async () => {
    const { loop, clock, end, events, runs } = fixture({ graceMs: 700 });
    loop.start();
    await clock.pass(50);
    let isStopped = false;
    const stopping = loop.stop().then(() => isStopped = true);
    await clock.pass(699);
    assert.equal(isStopped, false);
    await clock.pass(1);
    assert.equal(isStopped, true);
    await stopping;
    assert.deepEqual(runs.map(({ outcome }) => outcome), ["stopped"]);
    const logged = events.map(({ code, details }) => [code, details["reason"]]);
    assert.deepEqual(logged, [["worker_failed", "worker_goes_on"]]);
    await end(new Error("late"));
    assert.deepEqual(clock.timers, []);
  });

  it("does not keep a caller waiting who aborts, or when the store closes", async () => {
    const lost = new AbortController();
    const operations = {
      of: () => ({ run: (body: () => unknown) => body() }),
    };
    const calls = new Calls(
      lost.signal,
      operations as unknown as Operations,
      1,
    );
    const never = () => new Promise<never>(() => {});
    const caller = new AbortController();
    const { signal } = caller;
    const givenUp = calls.call("trimStreams", { signal }, never);
    const code = (expected: string) => (error: StreamStorageError) =>
      error.code === expected;
    const ends = [
      assert.rejects(givenUp, code("CANCELED")),
      assert.rejects(
        calls.call("reconcileMedia", {}, never),
        code("FAILED_PRECONDITION"),
      ),
    ];
    caller.abort(new Error("enough"));
    await ends[0];
    await calls.close();
    await ends[1];
  });
});

describe("A worker whose runs fail", () => {
  /** Lets so many runs fail, and returns the pauses after them. */
  async function fail(f: ReturnType<typeof fixture>, times: number) {
    const pauses: number[] = [];
    for (let i = 0; i < times; i++) {
      await f.clock.pass(f.clock.timers[0]!);
      await f.end(fault());
      pauses.push(f.clock.timers[0]!);
    }
    return pauses;
  }

  it("opens its circuit after several in a row, and pauses longer each time", async () => {
    const f = fixture();
    f.loop.start();
    assert.deepEqual(await fail(f, 2), [1000, 1000]);
    assert.equal(f.loop.state.circuit, "closed");
    assert.deepEqual(await fail(f, 4), [2000, 4000, 8000, 10_000]);
    assert.equal(f.loop.state.circuit, "open");
    assert.deepEqual(f.events.map(({ code }) => code), [
      "worker_failed",
      "worker_suspended",
    ]);
    await f.loop.stop();
  });

  it("logs failures in a row once, and their end", async () => {
    const f = fixture();
    f.loop.start();
    await fail(f, 2);
    await f.clock.pass(f.clock.timers[0]!);
    await f.end({ done: 0, failed: 0, more: false });
    await fail(f, 1);
    const logged = f.events.map(({ code, details }) => [
      code,
      details["failures"],
    ]);
    assert.deepEqual(logged, [
      ["worker_failed", 1],
      ["worker_recovered", 2],
      ["worker_failed", 1],
    ]);
    await f.loop.stop();
  });

  it("can't be woken while its circuit is open, which one success closes", async () => {
    const f = fixture();
    f.loop.start();
    await fail(f, 3);
    f.loop.wake();
    assert.deepEqual(f.clock.timers, [2000]);
    await f.clock.pass(2000);
    assert.equal(f.begun.length, 4);
    await f.end({ done: 1, failed: 0, more: false });
    assert.equal(f.events.at(-2)?.code, "worker_recovered");
    assert.deepEqual(f.clock.timers, [1000]);
    assert.equal(f.loop.state.circuit, "closed");
    const pauses = await fail(f, 1);
    assert.deepEqual(pauses, [1000], "Failures were not counted from zero");
    await f.loop.stop();
  });

  it("only for some streams keeps its circuit closed, and logs the first", async () => {
    const f = fixture({ failuresToOpen: 1 });
    f.loop.start();
    await f.clock.pass(50);
    const first = { streamId: "a" as StreamId, code: "INTERNAL", reason: "no" };
    await f.end({ done: 1, failed: 2, firstFailure: first, more: false });
    assert.equal(f.loop.state.circuit, "closed");
    assert.deepEqual(f.events[0], {
      code: "worker_streams_failed",
      message: "Worker testing failed for 2 streams",
      details: { worker: "testing", failed: 2, first },
    });
    await f.loop.stop();
  });

  it("logs a foreign error only by its kind", async () => {
    const f = fixture();
    f.loop.start();
    await f.clock.pass(50);
    await f.end(new TypeError("with a payload"));
    assert.doesNotMatch(JSON.stringify(f.events), /payload/);
    assert.equal(f.events[0]!.details["error"], "TypeError");
    await f.loop.stop();
  });
});

describe("A call of a worker", () => {
  it("waits for the run in flight, and the next run waits for the call", async () => {
    const { loop, clock, begun, end } = fixture();
    loop.start();
    await clock.pass(50);
    const work = Promise.withResolvers<string>();
    let isBegun = false;
    const { signal } = new AbortController();
    const result = loop.run(signal, () => {
      isBegun = true;
      return work.promise;
    });
    await setImmediate();
    assert.equal(isBegun, false);
    await end(nothing);
    assert.equal(isBegun, true);
    await clock.pass(1000);
    assert.equal(begun.length, 1);
    work.resolve("done");
    assert.equal(await result, "done");
    await setImmediate();
    assert.equal(begun.length, 2);
    await end(nothing);
    await loop.stop();
  });

  it("can be aborted while it waits", async () => {
    const { loop, clock, end } = fixture();
    loop.start();
    await clock.pass(50);
    const controller = new AbortController();
    const waiting = loop.run(controller.signal, () => assert.fail());
    controller.abort(new Error("enough"));
    await assert.rejects(waiting, /enough/);
    await end(nothing);
    await loop.stop();
  });
});

describe("The gate of the workers", () => {
  it("admits so many at a time, in order", async () => {
    const gate = new Gate(2);
    const { signal } = new AbortController();
    const inside: string[] = [];
    const leave = new Map<string, () => void>();
    const enter = (name: string, given = signal) =>
      gate.pass(given, () => {
        inside.push(name);
        return new Promise<void>((resolve) => leave.set(name, resolve));
      });
    const gone = new AbortController();
    const passes = [enter("a"), enter("b"), enter("c")];
    const lost = enter("d", gone.signal);
    passes.push(enter("e"));
    gone.abort(new Error("gone"));
    await assert.rejects(lost, /gone/);
    assert.deepEqual(inside, ["a", "b"]);
    leave.get("b")!();
    await setImmediate();
    assert.deepEqual(inside, ["a", "b", "c"]);
    leave.get("a")!();
    leave.get("c")!();
    await setImmediate();
    assert.deepEqual(inside, ["a", "b", "c", "e"]);
    leave.get("e")!();
    await Promise.all(passes);
  });

  it("frees the place of a body that fails", async () => {
    const gate = new Gate(1);
    const { signal } = new AbortController();
    await assert.rejects(
      gate.pass(signal, () => Promise.reject(new Error("no"))),
      /no/,
    );
    assert.equal(await gate.pass(signal, () => Promise.resolve(1)), 1);
  });
});
