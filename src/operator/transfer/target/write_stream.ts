/**
 * Writes a whole stream into a store that this process owns, in memory bounded
 * by a piece, and so that nobody ever sees a part of it.
 *
 *     begin → piece* → end
 *
 * A stream that fits into one piece, as most do, is one transaction (but for an
 * archive stream, see `end`).
 *
 * Of a larger one, every piece but the last is written as rows of no stream: a
 * stream is its row in `es`, so there is none yet. They are what the deletion of
 * a stream leaves (operations/leftovers.ts), and are written down as such with
 * the first piece: if this process dies, the next owner removes them. The last
 * piece's transaction checks that the others are all there, takes the note away
 * and adds the row: then the stream is there, all of it. `withdraw` removes what
 * was staged.
 *
 * Replacing. A stream and its successor that fit into one transaction each are
 * exchanged in one. Else the old one is deleted before the new one is staged:
 * between these two there is neither, and only the source has the stream.
 *
 * Extending is another matter: extend_stream.ts.
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
import { writeStream } from "../../../postgres/write_path/stream_write.ts";
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

/** From so much on a piece is written. */
interface PieceLimits {
  bytes: number;
  rows: number;
}

/** A server writes so much in a fraction of a second. */
const pieceLimits: PieceLimits = { bytes: 4 * 1024 * 1024, rows: 2000 };

/** What is to be done: `create`, where there is no such stream. */
export interface WriteDecision {
  mode: "create" | "replace" | "extend";
  /** The last block that is there, for `extend`. */
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
  /** Blocks that were written as rows of no stream. */
  #staged = 0n;
  #isReplaced = false;

  /** `decide` is asked when the stream begins, and waited for when it is written. */
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

  /** @throws {StreamStorageError} BAD_STREAM_ID: no node could read the id. */
  begin(head: StreamHead): void {
    checkNewStreamId(head.streamId);
    this.#head = head;
    this.#emptyPiece();
    this.#decided ??= this.#decide();
    this.#decided.catch(() => {});
  }

  /** The next blocks. */
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

  /** Makes the stream what it is to be. */
  async end(tail: StreamTail): Promise<true> {
    const decision = await this.#decided!;
    if (decision.mode === "extend") {
      await this.#extend(decision, tail);
      return true;
    }
    // That its row and its first block are not of one transaction tells it from
    // a stream that has lost its minipool (verify/archives.ts).
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

  /** Leaves nothing behind of what was begun. */
  async withdraw(): Promise<void> {
    if (this.#staged === 0n) return;
    this.#staged = 0n;
    // Whatever made us give up: what was staged must go.
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
      ...(shared && { shared: () => ({ bound: shared }) }),
      bound: async () => [
        ...this.#row(),
        noLeftovers(this.#store.catalog, streamId),
        ...await this.#rest(tail),
      ],
      settle: () => {},
      refused: () => {
        throw streamExists(streamId);
      },
      wasDone: async () => !await isGone(this.#store, this.#call),
    });
    await writeStream(this.#store, this.#call, write);
  }

  /** Small streams share transactions; what is seldom is not worth a statement. */
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
      settle: () => {},
      refused: ({ reason }) => {
        if (reason !== leftoversReason && reason !== "stream_moved") {
          throw streamExists(streamId);
        }
        isTooLarge = true;
      },
    });
    if (!isTooLarge) return;
    await deleteStream(this.#store, this.#call);
    await this.#create(tail);
  }

  /** Writes the piece as rows of no stream. */
  async #stage({ mode }: WriteDecision): Promise<void> {
    const { streamId } = this.#call;
    if (mode === "replace" && !this.#isReplaced) {
      await deleteStream(this.#store, this.#call);
      this.#isReplaced = true;
    }
    const isFirst = this.#staged === 0n;
    const last = descriptorOf(this.#piece.at(-1)!);
    const write = {
      bytes: this.#bytes,
      withoutLock: true,
      endsBeliefs: true,
      bound: async () => [
        bind(this.#of(checkGone), streamId),
        ...(isFirst ? [noLeftovers(this.#store.catalog, streamId)] : []),
        ...await this.#rows(),
        bind(this.#of(noteRest), streamId),
      ],
      settle: () => {},
      refused: () => {
        throw streamExists(streamId);
      },
      wasDone: () => isBlockStored(this.#store, this.#call, last),
    };
    await writeStream(
      this.#store,
      this.#call,
      isFirst
        ? creating<readonly Bound[]>(this.#store, this.#call, write)
        : write,
    );
    this.#staged += BigInt(this.#piece.length);
  }

  /** Writes the last piece, and makes a stream of what was staged. */
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
      settle: () => {},
      refused: () => {
        throw streamExists(streamId);
      },
      wasDone: async () => !await isGone(this.#store, this.#call),
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

  /** The row that a stream is. */
  #row(): Bound[] {
    const { streamId, kind } = this.#head!;
    const isEphemeral = kind === "ephemeral";
    return [
      bind(this.#of(insertStream), streamId, isEphemeral),
      ...(isEphemeral ? [bind(this.#of(insertEphemeralAge), streamId)] : []),
    ];
  }

  /** Beside its row: the piece, and what stands behind the blocks. */
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
