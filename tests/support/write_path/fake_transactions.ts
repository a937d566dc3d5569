import {
  bind,
  type Result,
  statement,
} from "../../../src/database/statement.ts";
import type {
  BatchedWrite,
  Write,
} from "../../../src/postgres/write_path/queued_write.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";

/** A transaction in flight, whose end the test decides. */
export interface FakeTransaction {
  /** The streams that are locked. */
  streamIds: readonly StreamId[];
  /** The names of the writes, in order. */
  names: readonly string[];
  kind: "shared" | "alone";
  /** Whether a write that runs alone may already have been committed. */
  isInDoubt: boolean;
  /** Commits; the writes named in `without` do nothing. */
  commit(options?: { without?: readonly string[] }): void;
  /** Fails as a whole. */
  fail(error: Error): void;
}

/** How a fake write differs from a small one that can share a transaction. */
export interface FakeWriteOptions {
  bytes?: number;
  /** It always needs a transaction of its own. */
  solo?: boolean;
  /** A transaction can have no other write to its stream. */
  single?: boolean;
  /** It is a background write, which needs a transaction of its own. */
  background?: boolean;
  signal?: AbortSignal;
}

/** The error of a transaction whose answer was lost. */
export class UnknownOutcome extends Error {}

/** The error of a transaction that needs a lock of another session. */
export class Locked extends Error {}

/** Replaces the database below a write queue. */
export class FakeTransactions {
  /** The transactions in flight, the oldest first. */
  readonly inFlight: FakeTransaction[] = [];
  /** All transactions so far. */
  readonly begun: FakeTransaction[] = [];
  /** Shared writes that did nothing, with the number of later ones that did. */
  readonly explained: [name: string, later: number][] = [];

  /** The option of the queue that runs a batch. */
  readonly runBatch = (
    writes: readonly BatchedWrite[],
  ): Promise<Result[]> => {
    const streamIds = [...new Set(writes.map(({ streamId }) => streamId))];
    const names = writes.map(({ shared }) =>
      shared.bind(undefined).bound.statement.text
    );
    return this.#begin(
      { streamIds, names, kind: "shared", isInDoubt: false },
      (without) =>
        names.map((name) => ({
          rows: [],
          count: without.includes(name) ? 0 : 1,
        })),
    );
  };

  /** Makes a write whose promise resolves to its name. */
  write(
    streamId: StreamId,
    name: string,
    { bytes = 1, solo, single, background = false, signal }: FakeWriteOptions =
      {},
  ): Write<string | undefined> {
    const runAlone = (isInDoubt: boolean) =>
      this.#begin(
        { streamIds: [streamId], names: [name], kind: "alone", isInDoubt },
        (without) => {
          if (without.includes(name)) throw new Error(`${name} is refused`);
          return name;
        },
      );
    return {
      streamId,
      bytes,
      background,
      signal,
      runAlone,
      ...(solo || background ? {} : {
        shared: {
          bind: () => ({ bound: bind(statement({ text: name })) }),
          explain: (later) => {
            this.explained.push([name, later]);
            // Like a real write, it finds its reason by running alone.
            if (single) return runAlone(false);
            return Promise.reject(new Error(`${name} is refused`));
          },
          isSingle: single ?? false,
        },
      }),
    };
  }

  #begin<T>(
    what: Omit<FakeTransaction, "commit" | "fail">,
    resultOf: (without: readonly string[]) => T,
  ): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const end = () => {
      this.inFlight.splice(this.inFlight.indexOf(transaction), 1);
    };
    const transaction: FakeTransaction = {
      ...what,
      commit: ({ without = [] } = {}) => {
        end();
        try {
          resolve(resultOf(without));
        } catch (error) {
          reject(error);
        }
      },
      fail: (error) => {
        end();
        reject(error);
      },
    };
    this.inFlight.push(transaction);
    this.begun.push(transaction);
    return promise;
  }
}
