/**
 * What operations work with, by what they do: a read sees {@linkcode ReadStore},
 * a write on its way to the server {@linkcode WriteStore}, and an operation that
 * writes {@linkcode Store}, which is both.
 */

import type { CurrentServer } from "../database/current_server.ts";
import type { Fence } from "../database/fence.ts";
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

/** What the reading operations of a store or a reader work with. */
export interface ReadStore {
  readonly catalog: Catalog;
  readonly transactions: ReadTransactions;
  /** What an owner believes of its streams; a reader believes nothing. */
  readonly cache?: Pick<StreamCache, "legacySnapshots"> | undefined;
  /** Object storage for media streams, if it is configured. */
  readonly media?: Media | undefined;
  /** No caller waits: the calls keep out of the callers' way. */
  readonly background?: boolean;
}

/** What the write path works with, once a write's turn has come. */
export interface WriteStore {
  readonly catalog: Catalog;
  readonly transactions: Transactions;
  /** What this process believes of streams; may be dropped at any time. */
  readonly cache: StreamCache;
  /** Decides how a stream is locked. */
  readonly isolationLevel: IsolationLevel;
  /** Precedes every write. */
  readonly fence: Pick<Fence, "statement" | "owner">;
}

/** What the operations of a store work with. */
export interface Store extends ReadStore, WriteStore {
  readonly transactions: Transactions;
  readonly cache: StreamCache;
  /** Where a write waits for its turn. */
  readonly writes: WriteQueue;
  /** Shows a promotion, which may undo what was seen before. */
  readonly server: Pick<CurrentServer, "numbering">;
  /** Undefined: no limits. */
  readonly quotas?: Quotas | undefined;
  /** Notified after a commit. */
  readonly notices: WorkNotices;
}

/** A call on one stream. */
export interface StreamCall {
  /** The operation's name, for errors and metrics. */
  name: string;
  streamId: StreamId;
  signal?: AbortSignal | undefined;
  /** When the call was made, in the time of `performance.now()`. */
  submittedAt?: number;
  /** When the call gives up, in the time of `performance.now()`. */
  deadline?: number;
  /** For the call's spans: the queue runs it in another call's context. */
  context?: CallContext | undefined;
  /** A look for a lost write; see `TransactionContext`. */
  isFenced?: boolean;
}

/** The name, tags and bounds of the call's transactions. */
export function contextOf(
  { name, streamId, signal, deadline, isFenced = false }: StreamCall,
): TransactionContext {
  return { name, tags: streamId, signal, deadline, isFenced };
}
