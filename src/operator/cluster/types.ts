/** A Citus cluster's worker nodes, and the stores on them. */

/** A server of a cluster, by the name that the cluster's servers use. */
export interface WorkerPlace {
  /** Its name or address. */
  host: string;
  /** Its port. */
  port: number;
}

/** A server that keeps stores. */
export interface ClusterWorker extends WorkerPlace {
  /** Whether the cluster uses it. */
  isActive: boolean;
  /** Whether stores may be moved there. */
  takesStores: boolean;
  /** The number of stores that live there. */
  stores: bigint;
  /**
   * Bytes of their tables and indexes. Null: the worker node was not reached.
   */
  bytes: bigint | null;
}

/** A store of a cluster. */
export interface PlacedStore extends WorkerPlace {
  /** Its schema. */
  schema: string;
  /** The number of its tables there. */
  tables: bigint;
  /** Bytes of its tables and indexes. Null: the worker node was not reached. */
  bytes: bigint | null;
}

/** Where a store lives. */
export interface StorePlacement extends PlacedStore {
  /** Whether that is the connected server. */
  isHere: boolean;
}

/** The result of `clusterStatus`. */
export interface ClusterStatus {
  /**
   * The servers that have stores or may get some; the coordinator only if that
   * holds for it.
   */
  workers: ClusterWorker[];
  /** The distributed stores, in the order of their schemas. */
  stores: PlacedStore[];
}
