/** What the streams of the chaos hold: told by id and version alone. */
import {
  type MiniblockDescriptor,
  parseStreamId,
  type StreamId,
} from "../../mod.ts";
import { bytes, mediaGenesis } from "../../src/testing/contract/support.ts";
import { Random } from "../demo/random.ts";

/** The ids of a run. */
export function idsOf(seed: string, count: number): StreamId[] {
  const random = new Random(`ids ${seed}`);
  return Array.from({ length: count }, () => {
    const id = random.bytes(32);
    id[0] = 0xff;
    return parseStreamId(id);
  });
}

/**
 * The blocks of a stream's version. Some take several pages on their way back,
 * so that a process can die between two of them; few an upload in parts.
 */
export function blocksOf(id: StreamId, version: number): MiniblockDescriptor[] {
  const random = new Random(`${id} ${version}`);
  const size = random.chance(3) ? 3_000_000 : random.chance(15) ? 1_100_000 : 0;
  const chunks = size > 0 ? random.between(2, 3) : random.between(1, 12);
  const { genesis } = mediaGenesis(chunks);
  const hasSnapshot = random.chance(50);
  return [
    {
      ...genesis,
      ...(hasSnapshot ? { snapshot: bytes(`snapshot ${version}`) } : {}),
    },
    ...Array.from({ length: chunks }, (_, i) => ({
      number: BigInt(i + 1),
      data: random.bytes(size || random.mostlySmall(1, 60_000)),
    })),
  ];
}

/** Whether blocks that were read are those that were written. */
export function isEqual(
  read: readonly MiniblockDescriptor[],
  written: readonly MiniblockDescriptor[],
): boolean {
  return read.length === written.length &&
    read.every((block, i) => isSame(block, written[i]!));
}

/** The same for one. */
export function isSame(a: MiniblockDescriptor, b: MiniblockDescriptor) {
  return a.number === b.number && equal(a.data, b.data) &&
    equal(a.snapshot ?? none, b.snapshot ?? none);
}

const none = new Uint8Array();

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
