/**
 * The checks of blocks and lists of blocks that are given.
 *
 * @module
 */
import {
  checkBytes,
  checkEach,
  checkInt64,
  checkObject,
  isFilled,
  isInt64,
  wrongType,
} from "./argument_types.ts";
import type { StreamStorageErrorCode } from "./errors.ts";
import { fault, invalidArgument } from "./fault.ts";
import { hasLegacySnapshot } from "./miniblock_proto.ts";
import type {
  MiniblockDescriptor,
  NewMinipool,
  PreviousMinipool,
} from "./model.ts";

/** The generations are those of the minipools that the blocks end and begin. */
export function checkGenerations(
  miniblocks: MiniblockDescriptor[],
  newMinipool: NewMinipool,
  prevMinipool: PreviousMinipool,
): void {
  checkNotEmpty("INTERNAL", miniblocks);
  const first = miniblocks[0]?.number ?? 0n;
  const last = miniblocks.at(-1)?.number ?? 0n;
  if (prevMinipool.generation !== first) {
    throw fault(
      "INTERNAL",
      "prev_generation_mismatch",
      "Previous generation must be the first miniblock's number " +
        `${first}, received ${prevMinipool.generation}`,
      { expected: first, actual: prevMinipool.generation },
    );
  }
  if (newMinipool.generation !== last + 1n) {
    throw fault(
      "INTERNAL",
      "new_generation_mismatch",
      "New generation must follow the last miniblock's number " +
        `${last}, received ${newMinipool.generation}`,
      { expected: last + 1n, actual: newMinipool.generation },
    );
  }
}

/** At least one block. */
export function checkNotEmpty(
  code: StreamStorageErrorCode,
  miniblocks: MiniblockDescriptor[],
): void {
  if (miniblocks.length === 0) {
    throw fault(
      code,
      "empty_miniblock_list",
      "Argument miniblocks must not be empty",
      { argument: "miniblocks" },
    );
  }
}

/** Each number follows the one before. */
export function checkConsecutive(
  code: StreamStorageErrorCode,
  miniblocks: MiniblockDescriptor[],
): void {
  let due = miniblocks[0]?.number ?? 0n;
  let index = -1;
  for (const { number } of miniblocks) {
    index++;
    if (number !== due) {
      throw fault(
        code,
        "miniblocks_not_consecutive",
        `Argument miniblocks[${index}].number must be ${due}, ` +
          `received ${number}`,
        {
          argument: `miniblocks[${index}].number`,
          expected: due,
          actual: number,
        },
      );
    }
    due++;
  }
}

/** The number of each block is one. */
export function checkNumbers(miniblocks: MiniblockDescriptor[]): void {
  checkEach(
    "miniblocks",
    miniblocks,
    (block: MiniblockDescriptor | null) => isInt64(block?.number),
    (argument, block) => {
      checkObject(argument, block);
      checkInt64(`${argument}.number`, block!.number);
    },
  );
}

/** The bytes of each block. */
export function checkContents(miniblocks: MiniblockDescriptor[]): void {
  checkEach(
    "miniblocks",
    miniblocks,
    (block: MiniblockDescriptor | null) =>
      isFilled(block?.data) && block!.snapshot === undefined &&
      block!.hasLegacySnapshot === undefined,
    (argument, block) => {
      checkObject(argument, block);
      checkContent(argument, block!);
    },
  );
}

/** Checks the bytes of a block. The hash matters only for candidates. */
export function checkContent(
  argument: string,
  block: MiniblockDescriptor,
): void {
  checkBytes(`${argument}.data`, block.data);
  if (
    block.snapshot !== undefined && !(block.snapshot instanceof Uint8Array)
  ) {
    throw wrongType(`${argument}.snapshot`, "a Uint8Array", block.snapshot);
  }
  const legacy: unknown = block.hasLegacySnapshot;
  if (legacy !== undefined && typeof legacy !== "boolean") {
    throw wrongType(`${argument}.hasLegacySnapshot`, "a boolean", legacy);
  }
  if (legacy === true && !hasLegacySnapshot(block.data)) {
    throw invalidArgument({
      argument: `${argument}.hasLegacySnapshot`,
      reason: "no_legacy_snapshot",
      rule: "needs a snapshot inside the miniblock's data",
    });
  }
}
