/** A Citus cluster's workers, and the stores on them. */

/** A server of a cluster, by the name that the cluster's servers use. */
export interface WorkerPlace {
  /** Its name or address. */
  host: string;
  /** Its port. */
  port: number;
}

/** A server that keeps stores. */
export interface ClusterWorker extends WorkerPlace {
  /** Whether the cluster counts on it. */
  isActive: boolean;
  /** Whether stores may be moved there. */
  takesStores: boolean;
  /** Stores that live there. */
  stores: bigint;
  /** Of their tables and indexes. Null: the worker was not reached. */
  bytes: bigint | null;
}

/** A store of a cluster. */
export interface PlacedStore extends WorkerPlace {
  /** Its schema. */
  schema: string;
  /** How many tables it has there. */
  tables: bigint;
  /** Of its tables and indexes. Null: the worker was not reached. */
  bytes: bigint | null;
}

/** Where a store lives. */
export interface StorePlacement extends PlacedStore {
  /** Whether it is the server that was asked. */
  isHere: boolean;
}

/** What `clusterStatus` returns. */
export interface ClusterStatus {
  /** The servers that have stores or may get some, the coordinator if it does. */
  workers: ClusterWorker[];
  /** Those that are distributed, in the order of their schemas. */
  stores: PlacedStore[];
}
