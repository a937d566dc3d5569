import type { MediaStorageOptions } from "../../../src/postgres/media_options.ts";
import type { PostgresStreamStorage } from "../../../src/postgres/postgres_stream_storage.ts";
import type { MiniblockDescriptor } from "../../../src/storage/model.ts";
import { operationNames } from "../../../src/storage/operations.ts";
import type { StreamReader } from "../../../src/storage/stream_reader.ts";
import {
  parseStreamId,
  type StreamId,
} from "../../../src/storage/stream_id.ts";
import {
  bytes,
  mediaGenesis,
  run,
} from "../../../src/testing/contract/support.ts";
import { callSample } from "../../../src/testing/samples.ts";
import type { TestStreamStorage } from "../../../src/testing/create_test_stream_storage.ts";
import { queryOnce } from "../database.ts";
import type { GcsServer } from "./gcs_server.ts";
import type { S3Server } from "./s3_server.ts";

/** A new media stream's id. */
export function newMediaId(): StreamId {
  const id = crypto.getRandomValues(new Uint8Array(32));
  id[0] = 0xff;
  return parseStreamId(id);
}

/** The option for a store that uses the S3 server. */
export function onS3(
  { options }: S3Server,
  more: { migrateExisting?: boolean } = {},
): MediaStorageOptions {
  const { sessionToken: _token, forcePathStyle: _style, ...given } = options;
  return { provider: "s3", ...given, endpoint: given.endpoint!, ...more };
}

/** The option for a store that uses Google's double. */
export function onGcs(
  { options, credentials }: GcsServer,
  more: { migrateExisting?: boolean } = {},
): MediaStorageOptions {
  const { bucket, endpoint } = options;
  return { provider: "gcs", bucket, endpoint: endpoint!, credentials, ...more };
}

/**
 * Makes the store believe that this much time has passed since the last request
 * that changed an object. Before a held request is delivered, the bucket's clock
 * must advance as much.
 */
export async function letNamesRest(
  { url, schema }: TestStreamStorage,
  ms = 17 * 60_000,
): Promise<number> {
  const table = `"${schema}".stream_storage_media_changes`;
  const past = `${ms} * interval '1 millisecond'`;
  await queryOnce(
    url,
    `UPDATE ${table} SET signed_at = signed_at - ${past},
      due_at = due_at - ${past}`,
  );
  return ms;
}

/** Bytes that differ for each number. */
export function chunk(number: bigint | number, size = 1000): Uint8Array {
  const first = Number(number) * 13;
  const data = new Uint8Array(size);
  for (let i = 0; i < size; i++) data[i] = (i * 7 + first) % 251;
  return data;
}

/** The blocks of a complete media stream. */
export function mediaBlocks(
  { chunks = 3, chunkBytes = 1000, snapshot = "snapshot" }: {
    chunks?: number;
    chunkBytes?: number;
    snapshot?: string;
  } = {},
): MiniblockDescriptor[] {
  return [
    {
      ...mediaGenesis(chunks).genesis,
      ...(snapshot === "" ? {} : { snapshot: bytes(snapshot) }),
    },
    ...run(1, chunks).map((number) => ({
      number,
      data: chunk(number, chunkBytes + Number(number)),
    })),
  ];
}

/** Uploads and seals a media stream. */
export async function sealMedia(
  storage: PostgresStreamStorage,
  blocks = mediaBlocks(),
  id = newMediaId(),
): Promise<StreamId> {
  const [genesis, ...chunks] = blocks;
  await storage.createEphemeralStreamStorage(id, genesis!);
  for (const block of chunks) await storage.writeEphemeralMiniblock(id, block);
  await storage.normalizeEphemeralStream(id);
  return id;
}

/** The results of all reads of a stream, or their errors. */
export async function everyRead(
  storage: StreamReader,
  id: StreamId,
): Promise<unknown[]> {
  const ranges: [number, number][] = [
    [0, 1],
    [0, 3],
    [0, 100],
    [1, 3],
    [2, 2],
    [3, 9],
    [4, 9],
    [50, 60],
  ];
  const calls: (() => Promise<unknown>)[] = [
    ...operationNames("reads")
      // The only read whose result depends on where the blocks are.
      .filter((name) => name !== "streamMiniblocksStoredLocation")
      .map((name) => () => callSample(storage, name, id)),
    () => storage.readStreamFromLastSnapshot(id, 0),
    ...ranges.flatMap(([from, to]) =>
      [false, true].flatMap((omitSnapshot) => {
        const args = [id, BigInt(from), BigInt(to), { omitSnapshot }] as const;
        return [
          () => storage.readMiniblocks(...args),
          () => Array.fromAsync(storage.streamMiniblocks(...args)),
        ];
      })
    ),
  ];
  const results = [];
  for (const call of calls) {
    results.push(
      await call().catch(({ code, details, message }) => ({
        code,
        details,
        message,
      })),
    );
  }
  return results;
}
