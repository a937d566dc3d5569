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

/** The number of streams of a sequence. */
const STREAMS = 4;

/** The plan of a call, which is made up when its turn comes. */
export interface Intent {
  operation: WriteOperation | ReadOperation | ListOperation;
  /** The number of the stream. */
  stream: number;
  rolls: number[];
}

/** One step of a sequence. */
export type Step =
  /** One call. */
  | { kind: "call"; intent: Intent }
  /** Calls that are issued at once. */
  | { kind: "batch"; intents: Intent[] }
  /** Raw rows that are inserted for a stream that does not exist. */
  | { kind: "plant"; stream: number; rolls: number[] }
  /** Closes and opens the store again, or lets another one take over. */
  | { kind: "reopen"; takeOver: boolean };

const writes = Object.keys(WRITES) as WriteOperation[];
const reads = Object.keys(READS) as ReadOperation[];
const lists = Object.keys(LISTS) as ListOperation[];

/** The operations of a stream's life, which come more often than others. */
const usual: WriteOperation[] = [
  "writeEvent",
  "writeMiniblocks",
  "writeMiniblockCandidate",
  "writeArchiveMiniblocks",
  "writeEphemeralMiniblock",
];
const frequent: WriteOperation[] = [...usual, ...usual, ...writes]
  // This operation breaks streams, and broken ones are no longer checked.
  .filter((operation) => operation !== "debugDeleteMiniblocks");

const rolls = fc.array(fc.nat(99), { maxLength: ROLLS, size: "max" });
const stream = fc.nat(STREAMS - 1);

/** The stream that most likely fits the operation; see ORIGINS. */
const homes: Partial<Record<Intent["operation"], number>> = {
  writeArchiveMiniblocks: 2,
  getMaxArchivedMiniblockNumber: 2,
  writeEphemeralMiniblock: 3,
  normalizeEphemeralStream: 3,
  readEphemeralMiniblockNums: 3,
};

/** The operations that most likely create each stream, by its number. */
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

/** Generates sequences of at most this many steps. */
export function sequences(maxSteps: number): fc.Arbitrary<Step[]> {
  return fc.array(step, { maxLength: maxSteps, size: "max" });
}
