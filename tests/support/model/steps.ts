import fc from "fast-check";
import { ROLLS } from "./dice.ts";
import {
  type ListOperation,
  LISTS,
  type ReadOperation,
  READS,
  type WriteOperation,
  WRITES,
} from "./operations.ts";

/** How many streams a sequence is about. */
export const STREAMS = 4;

/** What a call is made up from once it is its turn. */
export interface Intent {
  operation: WriteOperation | ReadOperation | ListOperation;
  /** Which stream. */
  stream: number;
  rolls: number[];
}

/** One step of a sequence. */
export type Step =
  /** One call. */
  | { kind: "call"; intent: Intent }
  /** Calls that are issued together. */
  | { kind: "batch"; intents: Intent[] }
  /** Rows that are put into the tables of an unknown stream. */
  | { kind: "plant"; stream: number; rolls: number[] }
  /** The store is closed and opened again, or taken over by another. */
  | { kind: "reopen"; takeOver: boolean };

const writes = Object.keys(WRITES) as WriteOperation[];
const reads = Object.keys(READS) as ReadOperation[];
const lists = Object.keys(LISTS) as ListOperation[];

/** What lives on a stream, more often than what is done to it once. */
const usual: WriteOperation[] = [
  "writeEvent",
  "writeMiniblocks",
  "writeMiniblockCandidate",
  "writeArchiveMiniblocks",
  "writeEphemeralMiniblock",
];
const frequent: WriteOperation[] = [...usual, ...usual, ...writes]
  // It breaks streams, and what is broken is not checked any more.
  .filter((operation) => operation !== "debugDeleteMiniblocks");

const rolls = fc.array(fc.nat(99), { maxLength: ROLLS, size: "max" });
const stream = fc.nat(STREAMS - 1);

/** The stream that is most likely one for the operation; see ORIGINS. */
const homes: Partial<Record<Intent["operation"], number>> = {
  writeArchiveMiniblocks: 2,
  getMaxArchivedMiniblockNumber: 2,
  writeEphemeralMiniblock: 3,
  normalizeEphemeralStream: 3,
  readEphemeralMiniblockNums: 3,
};

/** What an unknown stream most likely becomes, by its place. */
export const ORIGINS: readonly [WriteOperation, ...WriteOperation[]][] = [
  ["createStreamStorage"],
  ["createStreamStorage", "reinitializeStreamStorage"],
  ["createStreamArchiveStorage", "createStreamStorage"],
  ["writeEphemeralMiniblock", "createEphemeralStreamStorage"],
];

function intentOf(operations: Intent["operation"][]): fc.Arbitrary<Intent> {
  const operation = fc.constantFrom(...operations);
  const isHome = fc.nat(3).map((n) => n > 0);
  return fc.record({ operation, stream, isHome, rolls }).map(
    ({ isHome, ...intent }) => ({
      ...intent,
      stream: isHome ? homes[intent.operation] ?? intent.stream : intent.stream,
    }),
  );
}

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 60,
    arbitrary: fc.record({
      kind: fc.constant("call" as const),
      intent: intentOf([
        ...frequent,
        ...frequent,
        ...reads,
        ...lists,
        "debugDeleteMiniblocks",
      ]),
    }),
  },
  {
    weight: 16,
    arbitrary: fc.record({
      kind: fc.constant("batch" as const),
      intents: fc.array(
        fc.oneof(
          { weight: 3, arbitrary: intentOf(["writeEvent"]) },
          { weight: 4, arbitrary: intentOf(frequent) },
          { weight: 1, arbitrary: intentOf(reads) },
        ),
        { minLength: 2, maxLength: 12 },
      ),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("plant" as const),
      stream,
      rolls,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("reopen" as const),
      takeOver: fc.boolean(),
    }),
  },
);

/** Sequences of at most so many steps. */
export function sequences(maxSteps: number): fc.Arbitrary<Step[]> {
  return fc.array(step, { maxLength: maxSteps, size: "max" });
}
