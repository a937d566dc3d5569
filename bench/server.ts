/** The server that a run is made on unless it is given one. */

import { totalmem } from "node:os";
import pg from "pg";
import { startEmbeddedPostgres } from "../src/embedded/mod.ts";
import { clientOptions } from "./client.ts";

const mib = 1024 * 1024;

/**
 * As a server of this size is run: a quarter of the memory for its buffers
 * (PostgreSQL documentation, "Resource Consumption"), 4 GB at most. By default
 * it would write them out every few seconds under this load, and who is measured
 * then is a matter of chance. Commits wait for the disk.
 */
const settings = {
  shared_buffers: `${Math.min(4096, Math.floor(totalmem() / 4 / mib))}MB`,
  max_wal_size: "8GB",
  min_wal_size: "8GB",
  checkpoint_timeout: "30min",
};

/** Files of 16 MB: what is written until a checkpoint lets some be used again. */
const logFiles = 512;

/** Starts it; with `settled` as one that has been running for a while. */
export async function startServer(
  { settled, onProgress }: {
    settled: boolean;
    onProgress(text: string): void;
  },
): Promise<{ url: string } & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const { url } = stack.use(await startEmbeddedPostgres({ settings }));
  if (settled) await makeLogFiles(url, onProgress);
  const cleanUp = stack.move();
  return { url, [Symbol.asyncDispose]: () => cleanUp.disposeAsync() };
}

/**
 * A server that has been running writes its log into files that it has used
 * before. A new one makes a file for every 16 MB, and all commits wait for that,
 * 25 ms at least: several times a second, for those who write fastest.
 */
async function makeLogFiles(
  url: string,
  onProgress: (text: string) => void,
): Promise<void> {
  const client = new pg.Client(clientOptions(url));
  await client.connect();
  try {
    for (let i = 0; i < logFiles; i++) {
      if (i % 16 === 0) onProgress(`log of the server, ${i} of ${logFiles}`);
      await client.query("SELECT pg_logical_emit_message(true, '', '')");
      await client.query("SELECT pg_switch_wal()");
    }
    // From here on they are used again.
    await client.query("CHECKPOINT");
  } finally {
    await client.end();
  }
}
