import type {
  ImmediateImplementations,
  StreamOperationName,
} from "../storage/operation_methods.ts";
import type { StreamId } from "../storage/stream_id.ts";
import * as ephemeral from "./memory_ephemeral.ts";
import * as lifecycle from "./memory_lifecycle.ts";
import * as reads from "./memory_reads.ts";
import * as rebuild from "./memory_rebuild.ts";
import type { MemoryStreams } from "./memory_streams.ts";
import * as writes from "./memory_writes.ts";

/** The operations on one stream: what these files export by its name. */
export const memoryOperations: ImmediateImplementations<
  StreamOperationName,
  MemoryStreams,
  StreamId
> = { ...ephemeral, ...lifecycle, ...reads, ...rebuild, ...writes };
