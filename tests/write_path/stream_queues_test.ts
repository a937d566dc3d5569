/** The stream queues against plain arrays, in random sequences of steps. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  StreamQueues,
  type Task,
} from "../../src/postgres/write_path/stream_queues.ts";

const idOf = (nth: number) => `stream ${nth}` as StreamId;

function taskOf(streamId: StreamId, bytes: number): Task {
  return {
    write: { streamId, bytes, runAlone: () => Promise.resolve() },
    submittedAt: 0,
    resolve() {},
    reject() {},
    onAbort: undefined,
    isInDoubt: false,
  };
}

/** The same queues as plain arrays, which stay in a map for ever. */
class Model {
  readonly waiting = new Map<StreamId, Task[]>();
  /** The tasks of each stream that are in flight. */
  readonly inFlight = new Map<StreamId, Task[]>();
  ready: StreamId[] = [];
  aside: StreamId[] = [];
  readonly locked = new Set<StreamId>();

  of(id: StreamId): Task[] {
    if (!this.waiting.has(id)) this.waiting.set(id, []);
    return this.waiting.get(id)!;
  }

  all(): Task[] {
    return [...this.waiting.values()].flat();
  }
}

type Step =
  | { kind: "add"; stream: number; bytes: number }
  | { kind: "remove"; pick: number }
  | { kind: "take"; counts: number[] }
  | { kind: "release"; pick: number; putsBack: boolean }
  | { kind: "lock" | "bring back"; stream: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("add" as const),
      stream: fc.nat({ max: 5 }),
      bytes: fc.nat({ max: 9 }),
    }),
  },
  fc.record({ kind: fc.constant("remove" as const), pick: fc.nat() }),
  fc.record({
    kind: fc.constant("take" as const),
    counts: fc.array(fc.nat({ max: 3 }), { maxLength: 6 }),
  }),
  fc.record({
    kind: fc.constant("release" as const),
    pick: fc.nat(),
    putsBack: fc.boolean(),
  }),
  fc.record({
    kind: fc.constantFrom("lock" as const, "bring back" as const),
    stream: fc.nat({ max: 5 }),
  }),
);

function play(queues: StreamQueues, model: Model, step: Step): void {
  const pickOf = <T>(items: T[], pick: number) => items[pick % items.length];
  switch (step.kind) {
    case "add": {
      const id = idOf(step.stream);
      const task = taskOf(id, step.bytes);
      const queue = model.of(id);
      queue.push(task);
      const isReady = !model.inFlight.has(id);
      if (isReady && queue.length === 1) model.ready.push(id);
      return assert.equal(queues.add(task), isReady);
    }
    case "remove": {
      const task = pickOf(model.all(), step.pick);
      if (task === undefined) return;
      const queue = model.of(task.write.streamId);
      queue.splice(queue.indexOf(task), 1);
      if (queue.length === 0) {
        const isOther = (id: StreamId) => id !== task.write.streamId;
        model.ready = model.ready.filter(isOther);
        model.aside = model.aside.filter(isOther);
      }
      return queues.remove(task);
    }
    case "take": {
      const expected: Task[] = [];
      const left: StreamId[] = [];
      const offered: StreamId[] = [];
      let nth = 0;
      for (const id of model.ready) {
        if (nth > step.counts.length) left.push(id);
        else if (model.locked.has(id)) model.aside.push(id);
        else {
          offered.push(id);
          const count = step.counts[nth++] ?? 0;
          const tasks = model.of(id).splice(0, count);
          expected.push(...tasks);
          if (count === 0) left.push(id);
          else model.inFlight.set(id, tasks);
        }
      }
      model.ready = left;
      nth = 0;
      const taken = queues.take((tasks) => {
        // The queues after the last number stay as they are.
        if (nth === step.counts.length) return undefined;
        assert.equal(tasks[0]!.write.streamId, offered[nth]);
        return Math.min(step.counts[nth++]!, tasks.length);
      });
      return assert.deepEqual(taken, expected);
    }
    case "release": {
      const [id, tasks] = pickOf([...model.inFlight], step.pick) ?? [];
      if (id === undefined) return;
      model.inFlight.delete(id);
      if (step.putsBack) {
        queues.putBack(tasks!);
        model.of(id).unshift(...tasks!);
      }
      if (model.of(id).length > 0) model.ready.push(id);
      return queues.release(id);
    }
    case "lock":
      model.locked.add(idOf(step.stream));
      return;
    case "bring back":
      model.locked.delete(idOf(step.stream));
      model.ready.push(...model.aside);
      model.aside = [];
      return queues.bringBack();
  }
}

function check(queues: StreamQueues, model: Model): void {
  const all = model.all();
  assert.equal(queues.waiting, all.length);
  assert.equal(
    queues.waitingBytes,
    all.reduce((sum, { write }) => sum + write.bytes, 0),
  );
  assert.equal(queues.ready, model.ready.length);
  assert.equal(queues.isEmpty, all.length === 0 && model.inFlight.size === 0);
  assert.deepEqual(new Set(queues.all()), new Set(all));
}

describe("StreamQueues", () => {
  it("keeps the order of each stream's tasks and of the ready streams", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 80 }), (steps) => {
        const model = new Model();
        const queues = new StreamQueues((id) => model.locked.has(id));
        for (const each of steps) {
          play(queues, model, each);
          check(queues, model);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("loses no task when it removes empty queues", () => {
    const queues = new StreamQueues();
    const takeAll = () => queues.take((tasks) => tasks.length);
    queues.add(taskOf(idOf(-1), 1));
    queues.add(taskOf(idOf(-2), 1));
    assert.equal(takeAll().length, 2);
    const behind = taskOf(idOf(-1), 1);
    queues.add(behind);
    for (let nth = 0; nth < 20_000; nth++) {
      const task = taskOf(idOf(nth), 1);
      queues.add(task);
      assert.deepEqual(takeAll(), [task]);
      queues.release(idOf(nth));
    }
    // Both queues are still in flight.
    const late = taskOf(idOf(-2), 1);
    assert.equal(queues.add(late), false);
    assert.deepEqual(takeAll(), []);
    queues.release(idOf(-1));
    queues.release(idOf(-2));
    assert.deepEqual(takeAll(), [behind, late]);
    assert.equal(queues.isEmpty, false);
    queues.release(idOf(-1));
    queues.release(idOf(-2));
    assert.equal(queues.isEmpty, true);
  });
});
