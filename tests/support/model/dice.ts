import type { MiniblockDescriptor } from "../../../src/storage/model.ts";
import {
  bytes,
  legacyBlock,
  mediaGenesis,
} from "../../../src/testing/contract/support.ts";

/** The number of rolls for a call; each roll is 0 to 99. */
export const ROLLS = 24;

/**
 * Makes choices from rolls. The first choice is the usual one: a roll of 0
 * chooses it. Shrinking leads to rolls of 0, and they follow the last roll.
 */
export class Dice {
  readonly #rolls: readonly number[];
  readonly #label: string;
  #at = 0;
  #payloads = 0;

  /** `label` makes the payloads unique to this call. */
  constructor(rolls: readonly number[], label: string) {
    this.#rolls = rolls;
    this.#label = label;
  }

  #roll(): number {
    return this.#rolls[this.#at++] ?? 0;
  }

  /** Makes each choice with equal chance. */
  pick<T>(...choices: [T, ...T[]]): T {
    return choices[Math.floor(this.#roll() * choices.length / 100)]!;
  }

  /** Makes the usual choice three times in four. */
  mostly<T>(usual: T, ...others: [T, ...T[]]): T {
    const roll = this.#roll() - 75;
    return roll < 0 ? usual : others[Math.floor(roll * others.length / 25)]!;
  }

  /** Returns true once in this many times, up to 50. */
  rarely(times: number): boolean {
    return this.#roll() >= 100 - Math.round(100 / times);
  }

  /** An integer from 0 to `max`, with equal chance. */
  upTo(max: number): number {
    return Math.floor(this.#roll() * (max + 1) / 100);
  }

  /** A payload that no other call has, sometimes a large one. */
  payload(kind: string): Uint8Array {
    if (this.rarely(30)) return new Uint8Array(this.pick(3000, 70_000)).fill(7);
    return bytes(`${kind} ${this.#label}.${this.#payloads++}`);
  }

  /** A block with or without a snapshot, sometimes an invalid one. */
  block(number: bigint): MiniblockDescriptor {
    const legacy = this.legacyBlock(number);
    return this.mostly<() => MiniblockDescriptor>(
      () => ({ number, data: this.payload("block") }),
      () => this.snapshotBlock(number),
      () => this.snapshotBlock(number),
      () => legacy,
      () => ({ number, data: legacy.data }),
      () => ({ number, data: this.payload("block"), snapshot: bytes("") }),
      () => ({ number, data: bytes("") }),
      () => ({ number, data: bytes("block"), hasLegacySnapshot: true }),
    )();
  }

  /** A block with a snapshot beside it. */
  snapshotBlock(number: bigint): MiniblockDescriptor {
    return {
      number,
      data: this.payload("block"),
      snapshot: this.payload("snapshot"),
    };
  }

  /** A block with a snapshot inside its data. */
  legacyBlock(number: bigint): MiniblockDescriptor {
    // The number may be above the greatest valid one.
    return { ...legacyBlock(BigInt.asIntN(64, number)), number };
  }

  /** This many blocks from `first` on, sometimes with a gap. */
  blocks(first: bigint, count: number): MiniblockDescriptor[] {
    const gapAt = this.rarely(20) ? this.upTo(count) : count;
    return Array.from(
      { length: count },
      (_, i) => this.block(first + BigInt(i < gapAt ? i : i + 1)),
    );
  }

  /** The first block of a media stream of a few chunks, or any block. */
  mediaGenesis(): MiniblockDescriptor {
    return this.mostly(mediaGenesis(this.upTo(3)).genesis, this.block(0n));
  }
}

const BAD: [unknown, ...unknown[]] = [
  undefined,
  null,
  -1n,
  2n ** 63n,
  1n,
  -1,
  0.5,
  NaN,
  2 ** 53,
  "1",
  true,
  new Uint8Array(),
  new Uint8Array(31),
  [],
  {},
];

/** The value, with something in it replaced by something unlikely to fit. */
export function spoil(value: unknown, dice: Dice): unknown {
  const isOpen = typeof value === "object" && value !== null &&
    !(value instanceof Uint8Array);
  if (!isOpen || dice.rarely(3)) return dice.pick(...BAD);
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<
    string,
    unknown
  >;
  const [first, ...others] = Object.keys(copy);
  if (first === undefined) return dice.pick(...BAD);
  const key = dice.pick(first, ...others);
  copy[key] = spoil(copy[key], dice);
  return copy;
}
