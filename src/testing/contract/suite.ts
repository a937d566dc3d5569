/** How the tests of the contract are registered. */
import { describe, it } from "node:test";
import type { StreamId } from "../../storage/stream_id.ts";
import type { StreamStorage } from "../../storage/stream_storage.ts";

/** A block as a row, with anything that an older node may have written. */
export interface PlantedBlock {
  /** The block's number. */
  number: bigint;
  /** Its data; zero-length in a corrupt stream. */
  data: Uint8Array;
  /** Its snapshot; absent, null and zero-length mean none. */
  snapshot?: Uint8Array | null;
}

/** All rows of one stream. */
export interface PlantedStream {
  /** `es.latest_snapshot_miniblock`; -1 is found in old data. */
  latestSnapshot: bigint;
  /** `es.ephemeral`; default false. */
  ephemeral?: boolean;
  /** Whether the row in `es` is left out, as for left-overs of a stream. */
  orphaned?: boolean;
  /** The blocks, ascending, with any gaps. */
  blocks: PlantedBlock[];
  /** The minipool by generation and slot; the marker has slot -1. */
  minipool: {
    generation: bigint;
    slot: number;
    envelope?: Uint8Array | null;
  }[];
  /** The candidates; default none. */
  candidates?: (PlantedBlock & { hash: Uint8Array })[];
}

/** A store for one test. */
export interface ContractStore {
  /** A fresh, empty store. */
  storage: StreamStorage;
  /**
   * Stores the rows of an unknown stream without any checks. Needed unless the
   * suite runs with `planting: false`.
   */
  plant?: (streamId: StreamId, rows: PlantedStream) => Promise<void> | void;
  /** Frees the store after the test; the test may have closed it. */
  dispose: () => Promise<void> | void;
}

/** Makes a store for one test. */
export type ContractStoreFactory = () => Promise<ContractStore> | ContractStore;

/** A store into which rows can be planted. */
export type PlantingStore = ContractStore & {
  plant: NonNullable<ContractStore["plant"]>;
};

/** Registers the tests of one family. */
export interface Suite {
  /** Registers a test with a store of its own. */
  test(
    name: string,
    body: (store: ContractStore) => Promise<void>,
  ): void;
  /** Registers a test with planted rows; skipped with `planting: false`. */
  planted(
    name: string,
    body: (store: PlantingStore) => Promise<void>,
  ): void;
}

/** Registers a family's tests with `node:test`, one store a test. */
export function registerFamily(
  name: string,
  factory: ContractStoreFactory,
  options: { planting: boolean },
  define: (suite: Suite) => void,
): void {
  describe(name, () => {
    define({
      test: (title, body) => {
        it(title, () => withStore(factory, body));
      },
      planted: (title, body) => {
        if (!options.planting) return;
        it(title, () =>
          withStore(factory, (store) => {
            const { plant } = store;
            if (plant === undefined) {
              throw new TypeError(
                "Factory must return plant() unless the suite runs with " +
                  "planting: false",
              );
            }
            return body({ ...store, plant });
          }));
      },
    });
  });
}

async function withStore(
  factory: ContractStoreFactory,
  body: (store: ContractStore) => Promise<void>,
): Promise<void> {
  const store = await factory();
  try {
    await body(store);
  } finally {
    await store.dispose();
  }
}
