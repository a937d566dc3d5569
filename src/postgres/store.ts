/** What every operation works with. */

import type { Ownership } from "../database/ownership.ts";
import type { CurrentServer } from "../database/current_server.ts";
import type {
  ReadTransactions,
  TransactionContext,
} from "../database/read_transactions.ts";
import type { Transactions } from "../database/transactions.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { CallContext } from "../telemetry/operations.ts";
import type { Catalog } from "./catalog.ts";
import type { Media } from "./media.ts";
import type { Quotas } from "./quotas.ts";
import type { StreamCache } from "./stream_cache.ts";
import type { WorkNotices } from "./work_notices.ts";
import type { WriteQueue } from "./write_path/write_queue.ts";

/** PostgreSQL's isolation levels that a store can run at. */
export type IsolationLevel =
  | "read committed"
  | "repeatable read"
  | "serializable";

/** What operations that read work with: of a store, and of a reader. */
export interface ReadStore {
  readonly catalog: Catalog;
  readonly transactions: ReadTransactions;
  /** What an owner believes of its streams; a reader believes nothing. */
  readonly cache?: Pick<StreamCache, "legacySnapshots"> | undefined;
  /** Object storage for media streams, if it is configured. */
  readonly media?: Media | undefined;
  /** Its calls are nobody's: they keep out of the callers' way. */
  readonly background?: boolean;
}

/** What the operations of a store share. */
export interface Store extends ReadStore {
  readonly transactions: Transactions;
  readonly writes: WriteQueue;
  /** What this process believes of streams; it may be dropped at any time. */
  readonly cache: StreamCache;
  readonly isolationLevel: IsolationLevel;
  readonly ownership: Ownership;
  /** What was seen before a promotion may not be there any more. */
  readonly server: CurrentServer;
  /** Undefined: no limits. */
  readonly quotas?: Quotas | undefined;
  /** To be told after a commit. */
  readonly notices: WorkNotices;
}

/** What the shared transactions work with, which the queue of writes runs. */
export type BatchStore = Omit<Store, "writes">;

/** A call on one stream. */
export interface StreamCall {
  /** The operation's name, for errors and metrics. */
  name: string;
  streamId: StreamId;
  signal?: AbortSignal | undefined;
  /** When it was made, in the time of `performance.now()`. */
  submittedAt?: number;
  /** In the time of `performance.now()`. */
  deadline?: number;
  /** For its spans: the queue runs it in the context of another call. */
  context?: CallContext | undefined;
  /** A look for a lost write; see `TransactionContext`. */
  isFenced?: boolean;
}

/** How a transaction of the call is called and bounded. */
export function contextOf(
  { name, streamId, signal, deadline, isFenced = false }: StreamCall,
): TransactionContext {
  return { name, tags: streamId, signal, deadline, isFenced };
}
