/**
 * A process with readers. The first line of its input is a {@linkcode
 * ReadersPlan} as JSON. Each later line sets how many reads per second all of
 * them make together; the process answers with the number of reads since the
 * line before.
 */
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { openStreamReader, type StreamId } from "../../mod.ts";

/** What the process should do. */
export interface ReadersPlan {
  url: string;
  schema: string;
  readers: number;
  streams: StreamId[];
}

/** How long a reader waits while it has nothing to read. */
const idleMs = 20;

async function main(): Promise<void> {
  const input = createInterface({ input: process.stdin });
  const [first] = await once(input, "line");
  const { url, schema, readers, streams }: ReadersPlan = JSON.parse(first);
  let rate = 0;
  let reads = 0;
  let isOver = false;
  const opened = await Promise.all(
    Array.from({ length: readers }, () => openStreamReader({ url, schema })),
  );
  const reading = opened.map(async (reader, nth) => {
    for (let n = nth; !isOver; n++) {
      if (rate === 0) {
        await delay(idleMs);
        continue;
      }
      const due = performance.now() + 1000 * readers / rate;
      await reader.readStreamFromLastSnapshot(streams[n % streams.length]!, 0);
      reads++;
      await delay(Math.max(0, due - performance.now()));
    }
    await reader.close();
  });
  console.log(0);
  input.on("line", (line) => {
    rate = Number(line);
    console.log(reads);
    reads = 0;
  });
  input.on("close", () => isOver = true);
  await Promise.all(reading);
}

await main();
