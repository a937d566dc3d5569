/**
 * Checks blocks as they are read, from the database or from object storage. A
 * block that fails is read again by itself before it is reported: rows that
 * were deleted and rewritten between two pages are not a broken chain.
 */

import type { StreamId } from "../../../storage/stream_id.ts";
import { detail, type Finding } from "../findings.ts";
import type { VerifyState } from "../state.ts";
import {
  type BlockFault,
  checkBlock,
  type Link,
  type StoredBlock,
} from "./check.ts";
import { Evidence } from "./evidence.ts";

/** Reads a block again, together with the one before it if that is stored. */
export type ReadAgain = (
  streamId: StreamId,
  number: bigint,
) => Promise<StoredBlock[]>;

/** A block that failed its check. */
interface Suspect {
  streamId: StreamId;
  number: bigint;
  finding: BlockFault["finding"];
  readAgain: ReadAgain;
}

/**
 * A page of blocks: the bytes read, and the findings that can be reported now.
 */
export interface DeepPage {
  bytes: number;
  findings: Finding[];
}

/** What was seen to be right in the whole store. */
export class DeepEvidence {
  /** Evidence of hashes and of data that can be decoded. */
  readonly #hashes: Evidence<Suspect> = new Evidence();
  /** Evidence of the chain of headers. */
  readonly #links: Evidence<Suspect> = new Evidence();

  /** @param before What the earlier run, which this one continues, has seen. */
  constructor(before: VerifyState["seen"]) {
    if (before.hashes) this.#hashes.see();
    if (before.links) this.#links.see();
  }

  /** What was seen to be right. */
  get seen(): VerifyState["seen"] {
    return { hashes: this.#hashes.isSeen, links: this.#links.isSeen };
  }

  /** The number of faults that are not reported. */
  get unreported(): number {
    return this.#hashes.unreported + this.#links.unreported;
  }

  /** Checks a block, and returns what the next one has to name. */
  check(
    streamId: StreamId,
    block: StoredBlock,
    before: Link | undefined,
    readAgain: ReadAgain,
  ): Link | undefined {
    const withHashes = !this.#hashes.isHopeless;
    const check = checkBlock(block, before, withHashes);
    if (check.rightHashes > 0) this.#hashes.see();
    if (check.rightLinks > 0) this.#links.see();
    for (const finding of new Set(check.faults.map(({ finding }) => finding))) {
      const faults = finding === "broken_chain" ? this.#links : this.#hashes;
      faults.add({ streamId, number: block.number, finding, readAgain });
    }
    return check.link;
  }

  /** Returns the findings that can be reported now, each once. */
  async takeFindings(): Promise<Finding[]> {
    const findings: Finding[] = [];
    for (const suspect of [...this.#hashes.take(), ...this.#links.take()]) {
      findings.push(...await lookAgain(suspect));
    }
    return findings;
  }
}

async function lookAgain(
  { streamId, number, finding, readAgain }: Suspect,
): Promise<Finding[]> {
  const [block, previous] = (await readAgain(streamId, number)).toReversed();
  if (block?.number !== number) return [];
  const before = previous && checkBlock(previous, undefined, false).link;
  const { faults } = checkBlock(block, before, true);
  const same = faults.filter((fault) => fault.finding === finding);
  if (same.length === 0) return [];
  return [{
    severity: "error",
    finding,
    streamId,
    what: same.map(({ what }) => what).join("; "),
    details: { block: detail(number), bytes: block.data.length },
  }];
}
