/** The arguments of writeMiniblocks. */
import type { MiniblockDescriptor } from "../../storage/model.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { StreamStorage } from "../../storage/stream_storage.ts";
import {
  BAD_COUNTS,
  BAD_DATA,
  BAD_NUMBERS,
  faultsOf,
  type FaultyCall,
  testFaultyCalls,
} from "./common.ts";
import type { Suite } from "./suite.ts";
import {
  assertFails,
  assertRefused,
  block,
  bytes,
  type ExpectedError,
  newStreamId,
} from "./support.ts";

/** Registers the tests. */
export function testMiniblocksArguments(suite: Suite): void {
  testFaultyCalls(suite, "writeMiniblocks", BAD_ARGUMENTS);
  testListRules(suite);
}

/**
 * Writes the blocks; the new minipool is empty. `size` is the expected size of
 * the old one.
 */
export function write(
  storage: StreamStorage,
  id: StreamId,
  miniblocks: MiniblockDescriptor[],
  size?: number,
): Promise<void> {
  return storage.writeMiniblocks(
    id,
    miniblocks,
    { generation: (miniblocks.at(-1)?.number ?? 0n) + 1n, envelopes: [] },
    {
      generation: miniblocks[0]?.number ?? 0n,
      ...(size === undefined ? {} : { size }),
    },
  );
}

const BAD_ARGUMENTS: FaultyCall[] = [
  ...faultsOf(
    "miniblocks[0].number",
    BAD_NUMBERS,
    (storage, number) =>
      storage.writeMiniblocks(newStreamId(), [{ ...block(1), number }], {
        generation: 2n,
        envelopes: [],
      }, { generation: 1n }),
  ),
  ...faultsOf(
    "miniblocks[1].data",
    BAD_DATA,
    (storage, data) =>
      write(storage, newStreamId(), [block(1), { number: 2n, data }]),
  ),
  ...faultsOf(
    "newMinipool.generation",
    BAD_NUMBERS,
    (storage, generation) =>
      storage.writeMiniblocks(newStreamId(), [block(1)], {
        generation,
        envelopes: [],
      }, { generation: 1n }),
  ),
  ...faultsOf(
    "newMinipool.envelopes[1]",
    BAD_DATA,
    (storage, envelope) =>
      storage.writeMiniblocks(newStreamId(), [block(1)], {
        generation: 2n,
        envelopes: [bytes("event 0"), envelope],
      }, { generation: 1n }),
  ),
  ...faultsOf(
    "prevMinipool.generation",
    BAD_NUMBERS,
    (storage, generation) =>
      storage.writeMiniblocks(newStreamId(), [block(1)], {
        generation: 2n,
        envelopes: [],
      }, { generation }),
  ),
  ...faultsOf(
    "prevMinipool.size",
    BAD_COUNTS,
    (storage, size) => write(storage, newStreamId(), [block(1)], size),
  ),
  {
    fault: "no legacy snapshot in the data",
    argument: "miniblocks[0].hasLegacySnapshot",
    reason: "no_legacy_snapshot",
    call: (storage) =>
      write(storage, newStreamId(), [{
        ...block(1),
        hasLegacySnapshot: true,
      }]),
  },
  {
    fault: "a snapshot that is not bytes",
    argument: "miniblocks[0].snapshot",
    call: (storage) =>
      write(storage, newStreamId(), [
        { ...block(1), snapshot: "all" as unknown as Uint8Array },
      ]),
  },
];

const BAD_LISTS: {
  name: string;
  miniblocks: MiniblockDescriptor[];
  previous: bigint;
  next: bigint;
  expected: ExpectedError;
}[] = [
  {
    name: "no blocks",
    miniblocks: [],
    previous: 1n,
    next: 2n,
    expected: { code: "INTERNAL", reason: "empty_miniblock_list" },
  },
  {
    name: "a previous generation that is not the first number",
    miniblocks: [block(1)],
    previous: 2n,
    next: 2n,
    expected: {
      code: "INTERNAL",
      reason: "prev_generation_mismatch",
      details: { expected: 1n, actual: 2n },
    },
  },
  {
    name: "a new generation that is not the next number",
    miniblocks: [block(1), block(2)],
    previous: 1n,
    next: 2n,
    expected: {
      code: "INTERNAL",
      reason: "new_generation_mismatch",
      details: { expected: 3n, actual: 2n },
    },
  },
  {
    name: "a gap between the blocks",
    miniblocks: [block(1), block(3)],
    previous: 1n,
    next: 4n,
    expected: {
      code: "INTERNAL",
      reason: "miniblocks_not_consecutive",
      details: { expected: 2n, actual: 3n },
    },
  },
  {
    name: "a repeated number",
    miniblocks: [block(1), block(1)],
    previous: 1n,
    next: 2n,
    expected: {
      code: "INTERNAL",
      reason: "miniblocks_not_consecutive",
      details: { expected: 2n, actual: 1n },
    },
  },
  {
    name:
      "neither generation nor consecutive numbers: the generation is reported",
    miniblocks: [block(1), block(3)],
    previous: 2n,
    next: 9n,
    expected: { code: "INTERNAL", reason: "prev_generation_mismatch" },
  },
  {
    name: "a wrong new generation before a gap",
    miniblocks: [block(1), block(3)],
    previous: 1n,
    next: 9n,
    expected: { code: "INTERNAL", reason: "new_generation_mismatch" },
  },
  {
    name: "a gap before an empty block",
    miniblocks: [{ number: 1n, data: new Uint8Array() }, block(3)],
    previous: 1n,
    next: 4n,
    expected: { code: "INTERNAL", reason: "miniblocks_not_consecutive" },
  },
];

function testListRules(suite: Suite): void {
  for (const { name, miniblocks, previous, next, expected } of BAD_LISTS) {
    suite.test(`writeMiniblocks refuses ${name}`, async ({ storage }) => {
      const id = newStreamId();
      const call = (streamId: StreamId) =>
        storage.writeMiniblocks(
          streamId,
          miniblocks,
          { generation: next, envelopes: [] },
          { generation: previous },
        );
      await assertFails(call(newStreamId()), expected);
      await storage.createStreamStorage(id, block(0));
      await assertRefused(storage, id, () => call(id), expected);
    });
  }
}
