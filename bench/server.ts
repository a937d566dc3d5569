/** The embedded server of a run without `--url`. */

import { totalmem } from "node:os";
import pg from "pg";
import { startEmbeddedPostgres } from "../src/embedded/mod.ts";
import { clientOptions } from "./client.ts";

const mib = 1024 * 1024;

/**
 * The settings of a server on a machine of this size: a quarter of the memory
 * for the buffers (PostgreSQL documentation, "Resource Consumption"), 4 GB at
 * most. With the default settings the server would write its buffers out every
 * few seconds under this load, and chance would decide which variant that
 * slows. Commits wait for the disk.
 */
const settings = {
  shared_buffers: `${Math.min(4096, Math.floor(totalmem() / 4 / mib))}MB`,
  max_wal_size: "8GB",
  min_wal_size: "8GB",
  checkpoint_timeout: "30min",
};

/** Log files of 16 MB each: enough until a checkpoint frees some for reuse. */
const logFiles = 512;

/** Starts the server. If `settled`, it is like one that has run for a while. */
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
 * Makes the server's log files before the run. A server that has run for a
 * while reuses its log files. A new server creates a file for every 16 MB, and
 * all commits wait for that, at least 25 ms. The fastest variants would wait
 * several times a second.
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
    // The checkpoint frees the files, so that the server reuses them.
    await client.query("CHECKPOINT");
  } finally {
    await client.end();
  }
}
