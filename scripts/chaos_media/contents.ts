/** The blocks of the streams; a stream's id and version determine them. */
import {
  type MiniblockDescriptor,
  parseStreamId,
  type StreamId,
} from "../../mod.ts";
import {
  bytes,
  legacyBlock,
  mediaGenesis,
} from "../../src/testing/contract/support.ts";
import { Random } from "../../tests/support/random.ts";

/**
 * Makes the ids of a run. Of four streams, two are uploaded and two are written
 * block by block. Only the latter have snapshots at which they can be trimmed.
 */
export function idsOf(seed: string, count: number): StreamId[] {
  const random = new Random(`ids ${seed}`);
  return Array.from({ length: count }, (_, i) => {
    const id = random.bytes(32);
    id[0] = 0xff;
    id[1] = (i >> 1) % 2;
    return parseStreamId(id);
  });
}

/** Whether the stream's author writes it block by block. */
export function isWritten(id: StreamId): boolean {
  return id.slice(2, 4) === "01";
}

/** Makes all blocks of a stream's version. */
export function blocksOf(id: StreamId, version: number): MiniblockDescriptor[] {
  const random = new Random(`${id} ${version}`);
  return isWritten(id)
    ? writtenBlocks(random, version)
    : uploadedBlocks(random, version);
}

/**
 * Some streams take several pages on their way back into the database, so that
 * the process can die between two pages. A few are uploaded in parts.
 */
function uploadedBlocks(
  random: Random,
  version: number,
): MiniblockDescriptor[] {
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

/**
 * Makes enough blocks for snapshots to be cleared; some snapshots are inside
 * blocks.
 */
function writtenBlocks(
  random: Random,
  version: number,
): MiniblockDescriptor[] {
  const size = random.chance(10) ? 60_000 : 2000;
  const count = random.between(150, 350);
  return Array.from({ length: count }, (_, i) => {
    if (i > 0 && random.chance(3)) return legacyBlock(i);
    const block = {
      number: BigInt(i),
      data: random.bytes(random.mostlySmall(1, size)),
    };
    return random.chance(15)
      ? { ...block, snapshot: bytes(`snapshot ${version} ${i}`) }
      : block;
  });
}

/** Whether the blocks that were read equal those that were written. */
export function isEqual(
  read: readonly MiniblockDescriptor[],
  written: readonly MiniblockDescriptor[],
): boolean {
  return read.length === written.length &&
    read.every((block, i) => isSame(block, written[i]!));
}

/** Whether two blocks are equal. */
export function isSame(a: MiniblockDescriptor, b: MiniblockDescriptor) {
  return hasSameData(a, b) && equal(a.snapshot ?? none, b.snapshot ?? none);
}

/** Whether two blocks are equal, apart from the snapshots beside them. */
export function hasSameData(a: MiniblockDescriptor, b: MiniblockDescriptor) {
  return a.number === b.number && equal(a.data, b.data);
}

const none = new Uint8Array();

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
