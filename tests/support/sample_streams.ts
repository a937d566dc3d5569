/** The streams that the sample calls of src/testing/samples.ts need. */
import {
  type OperationName,
  operations,
  sampleHash,
  type SampleStream,
} from "../../src/storage/operations.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import type { StreamStorage } from "../../src/storage/stream_storage.ts";
import {
  bytes,
  mediaGenesis,
  newStreamId,
} from "../../src/testing/contract/support.ts";

/** The stream that the sample call of an operation needs. */
export function sampleStreamOf(name: OperationName): SampleStream {
  const { kind, on } = operations[name];
  return on ?? (kind === "creates" ? "unknown" : "regular");
}

/** Makes a stream that a sample call needs. */
export async function makeSampleStream(
  storage: StreamStorage,
  kind: SampleStream,
  content = bytes("sample"),
): Promise<StreamId> {
  const block = (number: bigint) => ({
    number,
    data: content,
    snapshot: content,
  });
  const id = newStreamId(kind === "upload" ? "media" : "space");
  switch (kind) {
    case "unknown":
      break;
    case "regular":
      await storage.createStreamStorage(id, block(0n));
      await storage.writeMiniblocks(
        id,
        [block(1n)],
        { generation: 2n, envelopes: [content] },
        { generation: 1n, size: 0 },
      );
      await storage.writeMiniblockCandidate(id, {
        ...block(2n),
        hash: sampleHash,
      });
      break;
    case "archive":
      await storage.createStreamArchiveStorage(id);
      await storage.writeArchiveMiniblocks(id, 0n, [block(0n)]);
      break;
    case "upload": {
      const { genesis } = mediaGenesis(2);
      const first = { ...genesis, snapshot: content };
      await storage.createEphemeralStreamStorage(id, first);
      for (const number of [1n, 2n]) {
        await storage.writeEphemeralMiniblock(id, { number, data: content });
      }
    }
  }
  return id;
}
