/** Writes as values, to make on a store and on its twin, and to print. */
import type { PostgresStreamStorage } from "../../../src/postgres/postgres_stream_storage.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";
import type { StreamStorage } from "../../../src/storage/stream_storage.ts";
import { type Outcome, perform } from "../model/calls.ts";
import {
  BACKGROUND_WRITES,
  type BackgroundOperation,
} from "./background_writes.ts";
import {
  type Facts,
  WRITE_VARIANTS,
  type WriteOperation,
  type WriteVariant,
} from "./write_calls.ts";

/** One write to a stream. */
export interface WriteCall {
  operation: WriteOperation | BackgroundOperation;
  /** The variant of the operation. */
  variant: string;
  /** The arguments after the stream's id. */
  args: readonly unknown[];
}

/** A call that may be possible, and its effect on the twin. */
export interface PossibleCall {
  call: WriteCall;
  /** Whether it may share a batch with writes to other streams. */
  sharesBatches: boolean;
  onTwin(twin: StreamStorage, id: StreamId): Promise<Outcome>;
}

/** Every variant of every write operation of `StreamStorage`. */
export function allVariants(): {
  operation: WriteOperation;
  variant: WriteVariant<WriteOperation>;
}[] {
  return Object.entries(WRITE_VARIANTS).flatMap(([operation, variants]) =>
    variants.map((variant) => ({
      operation: operation as WriteOperation,
      variant: variant as WriteVariant<WriteOperation>,
    }))
  );
}

/** All first writes that these facts allow, with `tag` in their payloads. */
export function possibleFirst(
  facts: Facts | undefined,
  tag: string,
): PossibleCall[] {
  return [
    ...possibleOf(allVariants(), facts, tag),
    ...possibleInBackground(facts),
  ];
}

/** All later writes that these facts allow; none is large or of the background. */
export function possibleLater(
  facts: Facts | undefined,
  tag: string,
): PossibleCall[] {
  const small = allVariants().filter(({ variant }) => !variant.isLarge);
  return possibleOf(small, facts, tag);
}

function possibleOf(
  variants: ReturnType<typeof allVariants>,
  facts: Facts | undefined,
  tag: string,
): PossibleCall[] {
  return variants.flatMap(({ operation, variant }) => {
    const args = variant.args(facts, tag);
    return args === undefined ? [] : [{
      call: { operation, variant: variant.name, args },
      sharesBatches: !variant.isLarge,
      onTwin: (twin, id) => perform(twin, { operation, args: [id, ...args] }),
    }];
  });
}

function possibleInBackground(facts: Facts | undefined): PossibleCall[] {
  const all = Object.entries(BACKGROUND_WRITES);
  return all.flatMap(([operation, { onTwin }]) => {
    const same = onTwin(facts);
    const name = operation as BackgroundOperation;
    return same === undefined ? [] : [{
      call: { operation: name, variant: "", args: [] },
      sharesBatches: false,
      onTwin: (twin, id) =>
        perform(twin, { ...same, args: [id, ...same.args] }),
    }];
  });
}

/** Makes the call on a store. */
export async function makeCall(
  storage: PostgresStreamStorage,
  id: StreamId,
  { operation, args }: WriteCall,
): Promise<Outcome> {
  if (!(operation in BACKGROUND_WRITES)) {
    const name = operation as WriteOperation;
    return await perform(storage, { operation: name, args: [id, ...args] });
  }
  const { onStore } = BACKGROUND_WRITES[operation as BackgroundOperation];
  return { value: await onStore(storage.maintenance, id) };
}

/** A call as its operation and its variant. */
export function showCall(
  { operation, variant }: Omit<WriteCall, "args">,
): string {
  return variant === "" ? operation : `${operation} [${variant}]`;
}
