/**
 * A program that reads a stream with `streamMiniblocks`, and prints as JSON what
 * it read and how its memory grew. In a process of its own, no other work uses
 * memory. Arguments: url, schema, stream id.
 */
import process from "node:process";
import { openStreamStorage } from "../../../src/open_stream_storage.ts";
import { parseStreamId } from "../../../src/storage/stream_id.ts";
import { takeArguments } from "./program_arguments.ts";

/** What the program prints. */
export interface ReadReport {
  blocks: number;
  bytes: number;
  /** Growth of resident memory after the first fifth of the blocks. */
  grownBytes: number;
}

const [url, schema, id] = await takeArguments();
const warmUpBlocks = 400;

const report: ReadReport = { blocks: 0, bytes: 0, grownBytes: 0 };
await using storage = await openStreamStorage({
  url: url!,
  schema: schema!,
  startupDelayMs: 0,
});
let start = 0;
const all = storage.streamMiniblocks(parseStreamId(id!), 0n, 2n ** 62n);
for await (const { number, data } of all) {
  const view = new DataView(data.buffer);
  if (number !== BigInt(report.blocks) || view.getBigUint64(0) !== number) {
    throw new Error(`Expected block ${report.blocks}, received ${number}`);
  }
  report.blocks++;
  report.bytes += data.length;
  const { rss } = process.memoryUsage();
  if (report.blocks <= warmUpBlocks) start = rss;
  report.grownBytes = Math.max(report.grownBytes, rss - start);
}
process.stdout.write(JSON.stringify(report));
