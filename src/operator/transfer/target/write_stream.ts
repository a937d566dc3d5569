/**
 * Writes a whole stream into a store that this process owns. No reader ever
 * sees a part of the stream. Memory is bounded by a piece.
 *
 *     begin → piece* → end
 *
 * A stream that fits into one piece, as most do, is one transaction (except an
 * archive stream, see `end`).
 *
 * Every piece of a larger stream except the last is staged: written as rows
 * without a stream. A stream exists only once its row in `es` does. Staged rows
 * look like the leftovers of a deleted stream (operations/leftovers.ts), and a
 * note with the first piece records them as such: if this process dies, the
 * next owner removes them. The transaction of the last piece checks that all
 * staged rows are there, deletes the note and adds the row in `es`. Then the
 * whole stream exists. `withdraw` removes staged rows.
 *
 * Replacing. If both streams fit into a transaction, one transaction exchanges
 * them. Otherwise the old stream is deleted before the new one is staged. Until
 * the last piece is written, only the source has the stream.
 *
 * Extending has its own file: extend_stream.ts.
 */

import { bind, type Bound } from "../../../database/statement.ts";
import type { Template } from "../../../postgres/catalog.ts";
import { deleteStream } from "../../../postgres/operations/delete_stream.ts";
import {
  creating,
  noLeftovers,
  removeLeftovers,
  streamGone,
} from "../../../postgres/operations/leftovers.ts";
import {
  isBlockStored,
  isGone,
} from "../../../postgres/operations/recognise.ts";
import { miniblockRows } from "../../../postgres/operations/write_miniblocks.ts";
import {
  checkGone,
  forgetDeletion,
  leftoversReason,
  noteRest,
} from "../../../postgres/sql/deletions.ts";
import {
  checkLocation,
  deleteExternal,
  deleteMediaBlocks,
} from "../../../postgres/sql/external.ts";
import {
  insertEphemeralAge,
  insertStream,
  updateHead,
} from "../../../postgres/sql/streams.ts";
import type { Store, StreamCall } from "../../../postgres/store.ts";
import {
  type StreamWrite,
  writeStream,
} from "../../../postgres/write_path/stream_write.ts";
import { checkNewStreamId } from "../../../storage/arguments.ts";
import { streamExists } from "../../../storage/contract_errors.ts";
import type { MiniblockDescriptor } from "../../../storage/model.ts";
import { descriptorOf, type MiniblockRow } from "../../../storage/rules.ts";
import { streamType } from "../../../storage/stream_id.ts";
import { bytesOfBlocks, bytesOfTail } from "../counting.ts";
import type { StreamHead, StreamTail } from "../format/model.ts";
import type { StreamTaker } from "../source/read_stream.ts";
import { extendStream } from "./extend_stream.ts";
import { tailRows } from "./tail_rows.ts";
import { checkStaged, insertGivenStream } from "./target_sql.ts";

/** The size at which a piece is written. */
interface PieceLimits {
  bytes: number;
  rows: number;
}

/** A server writes this much in a fraction of a second. */
const pieceLimits: PieceLimits = { bytes: 4 * 1024 * 1024, rows: 2000 };

/** How to write a stream; `create` if it does not exist. */
export interface WriteDecision {
  mode: "create" | "replace" | "extend";
  /** The last stored block, for `extend`. */
  stored?: bigint;
}

/** Writes one stream; see the file's head. */
export class StreamWriter implements StreamTaker<true> {
  readonly #store: Store;
  readonly #call: StreamCall;
  readonly #decide: () => Promise<WriteDecision>;
  readonly #limits: PieceLimits;
  #decided: Promise<WriteDecision> | undefined;
  #head: StreamHead | undefined;
  #piece: MiniblockRow[] = [];
  #bytes = 0;
  /** The number of staged blocks. */
  #staged = 0n;
  #isReplaced = false;

  /**
   * `decide` is called when the stream begins, and awaited when it is written.
   */
  constructor(
    store: Store,
    call: StreamCall,
    decide: () => Promise<WriteDecision>,
    limits = pieceLimits,
  ) {
    this.#limits = limits;
    this.#store = store;
    this.#call = call;
    this.#decide = decide;
  }

  /**
   * @throws {StreamStorageError} BAD_STREAM_ID: a node could not read the id.
   */
  begin(head: StreamHead): void {
    checkNewStreamId(head.streamId);
    this.#head = head;
    this.#emptyPiece();
    this.#decided ??= this.#decide();
    this.#decided.catch(() => {});
  }

  /** Adds the next blocks. */
  async blocks(blocks: readonly MiniblockRow[]): Promise<void> {
    for (const block of blocks) {
      this.#piece.push(block);
      this.#bytes += bytesOfBlocks([block]);
      const { bytes, rows } = this.#limits;
      if (this.#bytes < bytes && this.#piece.length < rows) continue;
      const decision = await this.#decided!;
      if (decision.mode === "extend") await this.#extend(decision, undefined);
      else await this.#stage(decision);
      this.#emptyPiece();
    }
  }

  /** Writes the rest of the stream. */
  async end(tail: StreamTail): Promise<true> {
    const decision = await this.#decided!;
    if (decision.mode === "extend") {
      await this.#extend(decision, tail);
      return true;
    }
    // An archive stream's row and first block must come from different
    // transactions. Otherwise `verify` takes it for a stream that has lost its
    // minipool (verify/archives.ts).
    if (this.#head!.kind === "archive" && this.#piece.length > 0) {
      await this.#stage(decision);
      this.#emptyPiece();
    }
    if (this.#staged > 0n) await this.#show(tail);
    else if (decision.mode === "create" || this.#isReplaced) {
      await this.#create(tail);
    } else await this.#replace(tail);
    return true;
  }

  /** Removes everything that was begun. */
  async withdraw(): Promise<void> {
    if (this.#staged === 0n) return;
    this.#staged = 0n;
    // Staged rows must go whatever the reason, even if the signal has aborted.
    const { name, streamId } = this.#call;
    await removeLeftovers(this.#store, { name, streamId });
  }

  #emptyPiece(): void {
    this.#piece = [];
    this.#bytes = 0;
  }

  #of<T>(template: Template<T>): T {
    return this.#store.catalog.of(this.#call.streamId, template);
  }

  async #create(tail: StreamTail): Promise<void> {
    const { streamId } = this.#call;
    const shared = this.#inOneStatement(tail);
    const write = creating(this.#store, this.#call, {
      bytes: this.#bytes + bytesOfTail(tail),
      withoutLock: true,
      endsBeliefs: true,
      ...(shared && { shared: { bind: () => ({ bound: shared }) } }),
      bound: async () => [
        ...this.#row(),
        noLeftovers(this.#store.catalog, streamId),
        ...await this.#rest(tail),
      ],
      refused: () => streamExists(streamId),
      wasDone: async (look) => !await isGone(this.#store, look),
    });
    await writeStream(this.#store, this.#call, write);
  }

  /**
   * Returns one statement for a small stream, so that small streams share
   * transactions. Rare kinds of streams are not worth a statement of their own.
   */
  #inOneStatement({ minipool, candidates }: StreamTail): Bound | undefined {
    if (minipool === undefined || candidates.length > 0) return undefined;
    const { streamId } = this.#call;
    return bind(
      this.#of(insertGivenStream),
      streamId,
      this.#head!.latestSnapshot,
      this.#piece.map(({ number }) => number),
      this.#piece.map(({ data }) => data),
      this.#piece.map(({ snapshot }) => snapshot?.length ? snapshot : null),
      minipool.generation,
      [null, ...minipool.envelopes],
    );
  }

  async #replace(tail: StreamTail): Promise<void> {
    const { streamId } = this.#call;
    const { catalog } = this.#store;
    const isMedia = streamType(streamId) === "media";
    let isTooLarge = false;
    await writeStream(this.#store, this.#call, {
      bytes: this.#bytes + bytesOfTail(tail),
      endsBeliefs: true,
      bound: async () => [
        bind(this.#of(checkLocation), streamId, "D"),
        ...(isMedia
          ? [
            bind(this.#of(deleteExternal), streamId),
            bind(this.#of(deleteMediaBlocks), streamId),
          ]
          : []),
        ...streamGone(catalog, streamId),
        ...this.#row(),
        noLeftovers(catalog, streamId),
        ...await this.#rest(tail),
      ],
      refused: ({ reason }) => {
        if (reason !== leftoversReason && reason !== "stream_moved") {
          return streamExists(streamId);
        }
        isTooLarge = true;
        return undefined;
      },
    });
    if (!isTooLarge) return;
    await deleteStream(this.#store, this.#call);
    await this.#create(tail);
  }

  /** Stages the piece. */
  async #stage({ mode }: WriteDecision): Promise<void> {
    const { streamId } = this.#call;
    if (mode === "replace" && !this.#isReplaced) {
      await deleteStream(this.#store, this.#call);
      this.#isReplaced = true;
    }
    const isFirst = this.#staged === 0n;
    const last = descriptorOf(this.#piece.at(-1)!);
    const write: StreamWrite<readonly Bound[]> = {
      bytes: this.#bytes,
      withoutLock: true,
      endsBeliefs: true,
      bound: async () => [
        bind(this.#of(checkGone), streamId),
        ...(isFirst ? [noLeftovers(this.#store.catalog, streamId)] : []),
        ...await this.#rows(),
        bind(this.#of(noteRest), streamId),
      ],
      refused: () => streamExists(streamId),
      wasDone: (look) => isBlockStored(this.#store, look, last),
    };
    await writeStream(
      this.#store,
      this.#call,
      isFirst ? creating(this.#store, this.#call, write) : write,
    );
    this.#staged += BigInt(this.#piece.length);
  }

  /** Writes the last piece, and turns the staged rows into a stream. */
  async #show(tail: StreamTail): Promise<void> {
    const { streamId } = this.#call;
    await writeStream(this.#store, this.#call, {
      bytes: this.#bytes + bytesOfTail(tail),
      withoutLock: true,
      endsBeliefs: true,
      bound: async () => [
        ...this.#row(),
        bind(this.#of(forgetDeletion), streamId),
        bind(this.#of(checkStaged), streamId, this.#staged),
        ...await this.#rest(tail),
      ],
      refused: () => streamExists(streamId),
      wasDone: async (look) => !await isGone(this.#store, look),
    });
    this.#staged = 0n;
  }

  async #extend(
    { stored = -1n }: WriteDecision,
    tail: StreamTail | undefined,
  ): Promise<void> {
    const [head, piece] = [this.#head!, this.#piece];
    await extendStream(this.#store, this.#call, { head, piece, stored, tail });
  }

  /** The statements for the stream's row. */
  #row(): Bound[] {
    const { streamId, kind } = this.#head!;
    const isEphemeral = kind === "ephemeral";
    return [
      bind(this.#of(insertStream), streamId, isEphemeral),
      ...(isEphemeral ? [bind(this.#of(insertEphemeralAge), streamId)] : []),
    ];
  }

  /** The statements for the piece, the minipool and the candidates. */
  async #rest(tail: StreamTail): Promise<Bound[]> {
    const { streamId, latestSnapshot } = this.#head!;
    return [
      ...await this.#rows(),
      bind(this.#of(updateHead), streamId, latestSnapshot),
      ...await tailRows(this.#store.catalog, streamId, tail),
    ];
  }

  async #rows(): Promise<Bound[]> {
    const blocks: MiniblockDescriptor[] = this.#piece.map((block) =>
      descriptorOf(block)
    );
    return await miniblockRows(this.#store.catalog, this.#call, blocks);
  }
}
