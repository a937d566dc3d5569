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

/** A transaction that is under way, and how it ends. */
export interface FakeTransaction {
  /** The streams that are locked. */
  streamIds: readonly StreamId[];
  /** The names of the writes, in order. */
  names: readonly string[];
  kind: "shared" | "alone";
  /** Whether a write that runs alone was told that it may be done already. */
  isInDoubt: boolean;
  /** Commits; without `done`, the writes that are named do nothing. */
  commit(options?: { without?: readonly string[] }): void;
  /** Fails, wholly. */
  fail(error: Error): void;
}

/** How a fake write differs from a small one that can share. */
export interface FakeWriteOptions {
  bytes?: number;
  /** Always a transaction of its own. */
  solo?: boolean;
  /** The only one of its stream in a transaction. */
  single?: boolean;
  /** Of the background, and so always a transaction of its own. */
  background?: boolean;
  signal?: AbortSignal;
}

/** Error of a transaction whose answer was lost. */
export class UnknownOutcome extends Error {}

/** Error of a transaction that needs a lock which somebody else holds. */
export class Locked extends Error {}

/** Takes the place of the database below a write queue. */
export class FakeTransactions {
  /** The transactions under way, the oldest first. */
  readonly inFlight: FakeTransaction[] = [];
  /** All that ever began. */
  readonly begun: FakeTransaction[] = [];
  /** Names of shared writes that did nothing, with how many later ones did. */
  readonly explained: [name: string, later: number][] = [];

  /** For the queue's options. */
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

  /** A write whose promise gives its name. */
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
            // As the store's own: the reason shows when it runs alone.
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
