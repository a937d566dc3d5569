/** Makes the uploads of media files, chunk by chunk. */
import { eventEnvelope } from "./protocol_bytes.ts";
import { Random } from "../../tests/support/random.ts";
import { realMiniblock } from "./real_miniblocks.ts";
import {
  type AuthoredBlock,
  StreamAuthor,
  type StreamHistory,
} from "./stream_author.ts";
import { streamIdOf } from "./stream_ids.ts";

/** A media file and how its upload goes. */
interface Upload {
  /** The fixtures have a real genesis for each of these counts. */
  chunkCount: 1 | 3 | 10;
  /**
   * Bytes of every chunk except the last, which has fewer; absent: real chunks.
   */
  chunkBytes?: number;
  /** Whether a chunk arrives before the genesis. */
  outOfOrder?: boolean;
  /** How many of the last chunks have not arrived yet. */
  missing?: number;
}

const largestChunk = 500_000;

const uploads: Upload[] = [
  { chunkCount: 3 },
  { chunkCount: 1, chunkBytes: 40_000 },
  { chunkCount: 1, chunkBytes: 300_000, outOfOrder: true },
  { chunkCount: 3, chunkBytes: largestChunk, outOfOrder: true },
  { chunkCount: 10, chunkBytes: largestChunk },
  { chunkCount: 10, chunkBytes: largestChunk },
  { chunkCount: 10, chunkBytes: 100_000, missing: 4 },
];

/** Makes the uploads, always the same for the same seed; see `historyOf`. */
export function mediaHistories(seed: string): StreamHistory[] {
  return uploads.map((upload, index) =>
    uploadHistory(upload, new Random(`${seed}/media/${index}`))
  );
}

function uploadHistory(
  { chunkCount, chunkBytes, outOfOrder = false, missing = 0 }: Upload,
  random: Random,
): StreamHistory {
  const author = new StreamAuthor(streamIdOf("media", random), random, {
    event: [0, 0],
    snapshot: [0, 0],
  });
  const genesis = {
    number: 0n,
    ...realMiniblock(`media-genesis-${chunkCount}-chunks`),
    hasLegacySnapshot: true,
  };
  const chunks = Array.from(
    { length: chunkCount - missing },
    (_, index) => {
      const number = BigInt(index + 1);
      if (chunkBytes === undefined) return realChunk(number);
      const isLast = index === chunkCount - 1;
      const size = isLast ? random.between(1000, chunkBytes) : chunkBytes;
      const event = eventEnvelope(random, "media", size);
      return author.makeBlock(number, [event], false);
    },
  );
  author.upload(inOrder(genesis, chunks, outOfOrder));
  if (missing === 0) author.seal(genesis.hash);
  return author.history(
    missing > 0
      ? `${missing} chunks missing`
      : chunkBytes === undefined
      ? "real messages"
      : undefined,
  );
}

function realChunk(number: bigint): AuthoredBlock {
  return { number, ...realMiniblock(`media-chunk-${number - 1n}`) };
}

function inOrder(
  genesis: AuthoredBlock,
  [first, ...rest]: AuthoredBlock[],
  overtaken: boolean,
): AuthoredBlock[] {
  if (first === undefined) return [genesis];
  return overtaken ? [first, genesis, ...rest] : [genesis, first, ...rest];
}
