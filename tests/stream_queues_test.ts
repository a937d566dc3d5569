import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { StreamId } from "../src/storage/stream_id.ts";
import {
  StreamQueues,
  type Task,
} from "../src/postgres/write_path/stream_queues.ts";

const idOf = (nth: number) => `stream ${nth}` as StreamId;

function taskOf(streamId: StreamId, bytes: number): Task {
  return {
    write: { streamId, bytes, runAlone: () => Promise.resolve() },
    submittedAt: 0,
    resolve() {},
    reject() {},
    onAbort: undefined,
  };
}

/** Stream queues as arrays, each stream's in a map for ever. */
class Model {
  readonly waiting = new Map<StreamId, Task[]>();
  readonly underWay = new Set<StreamId>();
  ready: StreamId[] = [];

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
  | { kind: "release"; pick: number };

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
  fc.record({ kind: fc.constant("release" as const), pick: fc.nat() }),
);

function play(lines: StreamQueues, model: Model, step: Step): void {
  const pickOf = <T>(items: T[], pick: number) => items[pick % items.length];
  switch (step.kind) {
    case "add": {
      const id = idOf(step.stream);
      const task = taskOf(id, step.bytes);
      const line = model.of(id);
      line.push(task);
      const isReady = !model.underWay.has(id);
      if (isReady && line.length === 1) model.ready.push(id);
      return assert.equal(lines.add(task), isReady);
    }
    case "remove": {
      const task = pickOf(model.all(), step.pick);
      if (task === undefined) return;
      const line = model.of(task.write.streamId);
      line.splice(line.indexOf(task), 1);
      if (line.length === 0) {
        model.ready = model.ready.filter((id) => id !== task.write.streamId);
      }
      return lines.remove(task);
    }
    case "take": {
      const expected: Task[] = [];
      const left: StreamId[] = [];
      for (const [i, id] of model.ready.entries()) {
        const count = step.counts[i] ?? 0;
        if (count === 0) left.push(id);
        else {
          expected.push(...model.of(id).splice(0, count));
          model.underWay.add(id);
        }
      }
      const offered = [...model.ready];
      model.ready = left;
      let nth = 0;
      const taken = lines.take((tasks) => {
        // Whatever is behind the last number stays as it is.
        if (nth === step.counts.length) return undefined;
        assert.equal(tasks[0]!.write.streamId, offered[nth]);
        return Math.min(step.counts[nth++]!, tasks.length);
      });
      return assert.deepEqual(taken, expected);
    }
    case "release": {
      const id = pickOf([...model.underWay], step.pick);
      if (id === undefined) return;
      model.underWay.delete(id);
      if (model.of(id).length > 0) model.ready.push(id);
      return lines.release(id);
    }
  }
}

function check(lines: StreamQueues, model: Model): void {
  const all = model.all();
  assert.equal(lines.waiting, all.length);
  assert.equal(
    lines.waitingBytes,
    all.reduce((sum, { write }) => sum + write.bytes, 0),
  );
  assert.equal(lines.ready, model.ready.length);
  assert.equal(lines.isEmpty, all.length === 0 && model.underWay.size === 0);
  assert.deepEqual(new Set(lines.all()), new Set(all));
}

describe("The lines of writes", () => {
  it("keep the order of each stream and of those that are ready", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 80 }), (steps) => {
        const lines = new StreamQueues();
        const model = new Model();
        for (const each of steps) {
          play(lines, model, each);
          check(lines, model);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("lose nothing when those that are empty go", () => {
    const lines = new StreamQueues();
    const takeAll = () => lines.take((tasks) => tasks.length);
    lines.add(taskOf(idOf(-1), 1));
    lines.add(taskOf(idOf(-2), 1));
    assert.equal(takeAll().length, 2);
    const behind = taskOf(idOf(-1), 1);
    lines.add(behind);
    for (let nth = 0; nth < 20_000; nth++) {
      const task = taskOf(idOf(nth), 1);
      lines.add(task);
      assert.deepEqual(takeAll(), [task]);
      lines.release(idOf(nth));
    }
    // Both lines are still under way.
    const late = taskOf(idOf(-2), 1);
    assert.equal(lines.add(late), false);
    assert.deepEqual(takeAll(), []);
    lines.release(idOf(-1));
    lines.release(idOf(-2));
    assert.deepEqual(takeAll(), [behind, late]);
    assert.equal(lines.isEmpty, false);
    lines.release(idOf(-1));
    lines.release(idOf(-2));
    assert.equal(lines.isEmpty, true);
  });
});
