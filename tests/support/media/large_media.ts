import { mediaGenesis, run } from "../../../src/testing/contract/support.ts";
import type { LargeMediaReport } from "./large_media_program.ts";
import { chunk, mediaBlocks, newMediaId, onS3, sealMedia } from "./streams.ts";
import { runProgram } from "../programs/run_program.ts";
import { startS3Server } from "./s3_server.ts";
import { openTestStorage } from "../storage.ts";

const chunkBytes = 500_000;

/** Moves a stream of this many megabytes and back, in a process of its own. */
export async function runLargeMedia(
  megabytes: number,
): Promise<LargeMediaReport & { expectedBytes: number }> {
  await using server = await startS3Server();
  await using test = await openTestStorage({ partitions: 1 });
  const { storage, url, schema } = test;
  const small = await sealMedia(
    storage,
    mediaBlocks({ chunks: 20, chunkBytes }),
  );
  const chunks = Math.ceil(megabytes * 1_000_000 / chunkBytes);
  const large = newMediaId();
  const { genesis } = mediaGenesis(chunks);
  await storage.createEphemeralStreamStorage(large, genesis);
  for (const number of run(1, chunks)) {
    const data = chunk(number, chunkBytes);
    await storage.writeEphemeralMiniblock(large, { number, data });
  }
  await storage.normalizeEphemeralStream(large);
  await storage.close();
  const { ended } = runProgram(
    new URL("./large_media_program.ts", import.meta.url),
    [
      url,
      schema,
      JSON.stringify(onS3(server)),
      small,
      large,
    ],
  );
  const { code, printed } = await ended;
  if (code !== 0) throw new Error(`Expected exit code 0, found ${code}`);
  const expectedBytes = genesis.data.length + chunks * chunkBytes;
  return { ...JSON.parse(printed), expectedBytes };
}
