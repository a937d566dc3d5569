/**
 * Moves a large media stream into object storage, reads it back byte for byte
 * and moves it back into the database. A process does that while it serves
 * other streams, and this program watches its memory.
 *
 * ```sh
 * deno task soak:media [MEGABYTES]     # default 300
 * ```
 */
import process from "node:process";
import { runLargeMedia } from "../tests/support/media/large_media.ts";

const megabytes = Number(process.argv[2] ?? 300);
const MB = 1024 * 1024;
const report = await runLargeMedia(megabytes);
const mb = (count: number) => `${Math.round(count / MB)} MB`;
console.log(
  `${report.bytes} bytes in ${report.blocks} blocks, idle ${
    mb(report.idleBytes)
  }`,
);
for (const [step, grown] of Object.entries(report.grownBytes)) {
  const seconds = report.seconds[step as keyof typeof report.seconds];
  console.log(`${step}: ${mb(grown)} above idle, ${seconds.toFixed(1)} s`);
}
const { writes, reads } = report.served;
console.log(`served meanwhile: ${writes} writes, ${reads} reads`);
const most = Math.max(...Object.values(report.grownBytes));
if (report.bytes !== report.expectedBytes || most >= 100 * MB) {
  console.error("The stream is damaged, or memory grew by 100 MB or more");
  process.exitCode = 1;
}
