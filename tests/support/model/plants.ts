import type { PlantedStream } from "../../../src/testing/contract/suite.ts";
import {
  bytes,
  candidate,
  legacyBlock,
  minipool,
  plantedStream,
  run,
} from "../../../src/testing/contract/support.ts";
import type { Dice } from "./dice.ts";

/** Rows that an older node, or a broken one, may have left. */
export function plantedRows(dice: Dice): PlantedStream {
  const numbers = dice.pick(
    run(0, 3),
    [0n],
    run(100, 103),
    [0n, 1n, ...run(5, 7)],
    [],
  );
  const last = numbers.at(-1) ?? -1n;
  const snapshot = numbers[dice.upTo(Math.max(numbers.length - 1, 0))];
  const rows = plantedStream(numbers, {
    snapshots: snapshot === undefined ? [] : [snapshot],
    ephemeral: dice.rarely(6),
  });
  const first = rows.blocks[0];
  if (first !== undefined) {
    dice.mostly(
      () => {},
      () => first.data = new Uint8Array(),
      () => first.snapshot = new Uint8Array(),
      () => first.snapshot = null,
      () => first.data = legacyBlock(first.number).data,
    )();
  }
  const events = dice.upTo(3);
  const whole = minipool(last + 1n, events);
  return {
    ...rows,
    latestSnapshot: dice.mostly(rows.latestSnapshot, 0n, -1n, last, last + 1n),
    orphaned: dice.rarely(10),
    minipool: rows.ephemeral ? [] : dice.mostly(
      whole,
      [],
      whole.slice(1),
      [...whole.slice(0, -1), {
        generation: last + 1n,
        slot: events + 1,
        envelope: bytes("behind a hole"),
      }],
      [...whole, ...minipool(last + 2n, 0)],
      minipool(last < 0n ? 9n : last, events),
      [{ generation: last + 1n, slot: -1, envelope: new Uint8Array() }],
    ),
    candidates: dice.pick<ReturnType<typeof candidate>[]>(
      [],
      [candidate(last + 1n, "a")],
      [candidate(last + 2n, "b"), candidate(last + 9n, "a")],
    ),
  };
}
