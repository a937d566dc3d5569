/** Checks one block, and that it follows the one before it. */

import { eventHash } from "./protocol_hash.ts";
import { type DecodedMiniblock, decodeMiniblock } from "./miniblock.ts";

/** A stored block. */
export interface StoredBlock {
  number: bigint;
  data: Uint8Array;
}

/** The number and hash that the next block has to name. */
export interface Link {
  number: bigint;
  hash: Uint8Array;
}

/** A fault of a block. */
export interface BlockFault {
  finding: "undecodable_block" | "hash_mismatch" | "broken_chain";
  what: string;
}

/** The result of a block's check. */
export interface BlockCheck {
  faults: BlockFault[];
  /** The number of right hashes. */
  rightHashes: number;
  rightLinks: number;
  link: Link | undefined;
}

const hashBytes = 32;

/**
 * Checks a block. `before` is the block before it, if that is known.
 * `withHashes`: computes the hashes, too.
 */
export function checkBlock(
  { number, data }: StoredBlock,
  before: Link | undefined,
  withHashes: boolean,
): BlockCheck {
  const check: BlockCheck = {
    faults: [],
    rightHashes: 0,
    rightLinks: 0,
    link: undefined,
  };
  const block = decodeMiniblock(data);
  if (typeof block === "string") {
    const what = `Block ${number} can't be decoded: ${block}`;
    check.faults.push({ finding: "undecodable_block", what });
    return check;
  }
  check.link = { number, hash: block.header.hash };
  checkLink(check, block, number, before);
  if (withHashes) checkHashes(check, block, number);
  return check;
}

function checkLink(
  check: BlockCheck,
  block: DecodedMiniblock,
  number: bigint,
  before: Link | undefined,
): void {
  if (block.number !== number) {
    const what = `Block ${number} says that it is block ${block.number}`;
    check.faults.push({ finding: "broken_chain", what });
  }
  const follows = before !== undefined && before.number === number - 1n;
  const { previousHash } = block;
  // If the data name no previous block, there is no chain to check.
  if (!follows || previousHash.length === 0 || before.hash.length === 0) return;
  if (isSame(previousHash, before.hash)) check.rightLinks++;
  else {
    const what =
      `Block ${number} does not name block ${before.number} as the ` +
      "one before it";
    check.faults.push({ finding: "broken_chain", what });
  }
}

function checkHashes(
  check: BlockCheck,
  { header, events, eventHashes }: DecodedMiniblock,
  number: bigint,
): void {
  const wrong = (what: string) =>
    check.faults.push({ finding: "hash_mismatch", what });
  const isRight = ({ hash, event }: typeof header) => {
    if (hash.length !== hashBytes) return undefined;
    const right = isSame(hash, eventHash(event));
    if (right) check.rightHashes++;
    return right;
  };
  if (isRight(header) === false) {
    wrong(`The header of block ${number} has another hash than it says`);
  }
  const broken = events.flatMap((event, i) =>
    isRight(event) === false ? i : []
  );
  if (broken.length > 0) {
    wrong(
      `${broken.length} of ${events.length} events of block ${number} have ` +
        `another hash than they say, the first is ${broken[0]}`,
    );
  }
  if (eventHashes.length === 0) return;
  const isListed = eventHashes.length === events.length &&
    eventHashes.every((hash, i) => isSame(hash, events[i]!.hash));
  if (!isListed) {
    wrong(`The header of block ${number} lists other events than it has`);
  }
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return false;
  return true;
}
